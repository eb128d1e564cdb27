// Package sts is AWS Security Token Service: it tells callers who they are and
// gives out temporary credentials.
//
// Invariants: a role is assumed only by whom its trust policy allows; what a
// session may do is never more than its role may; credentials carry all that
// there is to know of them, so that a clone of the account knows them too, and
// end by the simulated clock.
//
// Limits: no SAML, no federation tokens, no MFA, no transitive session tags, and
// no tags in the tokens of OpenID Connect issuers.
package sts

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/access"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns STS's API.
func Service() wire.Service {
	return wire.Service{
		Name: "sts", Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/", Protocol: wire.Query,
		Operations: []wire.Operation{
			{Name: "GetCallerIdentity", Do: getCallerIdentity},
			{Name: "AssumeRole", Do: assumeRole},
			{Name: "AssumeRoleWithWebIdentity", Do: assumeRoleWithWebIdentity, Unsigned: true},
			{Name: "GetSessionToken", Do: getSessionToken},
			{Name: "GetAccessKeyInfo", Do: getAccessKeyInfo},
			{Name: "DecodeAuthorizationMessage", Do: decodeAuthorizationMessage},
		},
	}
}

// Decides tells whether an operation of STS needs no permission or decides about
// it itself, together with the trust policy of a role.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
func Decides(operation string) bool { return operation != "DecodeAuthorizationMessage" }

// The limits of a session's life.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
const (
	minLife     = 900
	maxLife     = 43200
	usualLife   = 3600
	chainedLife = 3600
	// maxSessionPolicy is how long a session policy may be.
	maxSessionPolicy = 2048
	maxSessionTags   = 50
)

func errorf(status int, code, format string, args ...any) *account.Error {
	e := account.Errorf(code, format, args...)
	e.Status = status
	return e
}

func invalid(format string, args ...any) *account.Error {
	return errorf(http.StatusBadRequest, "ValidationError", format, args...)
}

func getCallerIdentity(tx *account.Tx, r *wire.Request) (any, error) {
	return map[string]any{"Account": tx.AccountID(), "Arn": r.Caller, "UserId": iam.UserID(tx, r.Caller)}, nil
}

// life is how long the credentials of a request last, within bounds.
func life(r *wire.Request, usual, most int) (time.Duration, error) {
	n := r.Int("DurationSeconds", usual)
	if n < minLife || n > most {
		bound := fmt.Sprintf("greater than or equal to %d", minLife)
		if n > most {
			bound = fmt.Sprintf("less than or equal to %d", most)
		}
		return 0, invalid("1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value %s", n, bound)
	}
	return time.Duration(n) * time.Second, nil
}

var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// tagKey is made when it is first asked for: that takes milliseconds.
var tagKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$`) })

// begin reads what a request to assume a role says of the session, and finds the
// role; nil if there is none.
func begin(tx *account.Tx, r *wire.Request) (role *account.Resource, s account.Session, err error) {
	s.Operation = r.Operation
	arn, name := r.String("RoleArn"), r.String("RoleSessionName")
	switch {
	case len(arn) < 20 || !strings.HasPrefix(arn, "arn:"):
		return nil, s, invalid("%s is invalid", arn)
	case !sessionName.MatchString(name):
		return nil, s, invalid("1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*", name)
	}
	for _, k := range []string{"SerialNumber", "TokenCode", "TransitiveTagKeys", "ProvidedContexts"} {
		if r.Has(k) {
			return nil, s, account.NotModelled("%s of %s is not modelled by the sandbox", k, r.Operation)
		}
	}
	if p := r.String("Policy"); p != "" {
		if len(p) > maxSessionPolicy {
			return nil, s, invalid("1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to %d", maxSessionPolicy)
		}
		if _, err := policy.Parse(p, policy.Identity); err != nil {
			return nil, s, errorf(http.StatusBadRequest, "MalformedPolicyDocument", "%v", err)
		}
		s.Policies = append(s.Policies, p)
	}
	for _, p := range props.Maps(r.In, "PolicyArns") {
		text, err := iam.PolicyText(tx, props.Str(p, "arn"))
		if err != nil {
			return nil, s, err
		}
		s.Policies = append(s.Policies, text)
	}
	if s.SourceIdentity = r.String("SourceIdentity"); s.SourceIdentity != "" && !sessionName.MatchString(s.SourceIdentity) {
		return nil, s, invalid("1 validation error detected: Value '%s' at 'sourceIdentity' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*", s.SourceIdentity)
	}
	if tags := props.Tags(r.In, "Tags"); len(tags) > 0 {
		if len(tags) > maxSessionTags {
			return nil, s, invalid("1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to %d", maxSessionTags)
		}
		for k := range tags {
			if !tagKey().MatchString(k) || strings.HasPrefix(strings.ToLower(k), "aws:") {
				return nil, s, errorf(http.StatusBadRequest, "InvalidParameterValue", "Tag key %s is not valid", k)
			}
		}
		s.Tags = tags
	}
	if role = iam.RoleByARN(tx, arn); role != nil {
		s.Entity = props.Str(role.Attrs, "RoleId")
	}
	return role, s, nil
}

// finish gives out the credentials of a role's session. Chained tells that a
// session of a role asked.
func finish(tx *account.Tx, r *wire.Request, role *account.Resource, s account.Session, chained bool) (map[string]any, error) {
	d, err := life(r, usualLife, maxLife)
	if err != nil {
		return nil, err
	}
	if most := props.Int(role.Props, usualLife, "MaxSessionDuration"); d > time.Duration(most)*time.Second {
		return nil, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	if chained && d > chainedLife*time.Second {
		return nil, invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	name := r.String("RoleSessionName")
	arn := tx.GlobalARN("sts", "assumed-role/"+role.ID+"/"+name)
	c, err := issue(tx, arn, s, d)
	if err != nil {
		return nil, err
	}
	r.Resource = props.Str(role.Attrs, "Arn")
	out := map[string]any{
		"Credentials":     c.view(),
		"AssumedRoleUser": map[string]any{"Arn": arn, "AssumedRoleId": s.Entity + ":" + name},
	}
	if s.SourceIdentity != "" {
		out["SourceIdentity"] = s.SourceIdentity
	}
	if len(s.Policies)+len(s.Tags) > 0 {
		n := 0
		for _, p := range s.Policies {
			n += policy.Size(p)
		}
		for k, v := range s.Tags {
			n += len(k) + len(v)
		}
		out["PackedPolicySize"] = min(100, n*100/maxSessionPolicy)
	}
	return out, nil
}

// assumeRole lets the caller have a session of a role, if the role trusts it and
// its own policies allow it too: one that the trust policy names needs no other.
func assumeRole(tx *account.Tx, r *wire.Request) (any, error) {
	role, s, err := begin(tx, r)
	if err != nil {
		return nil, err
	}
	arn := r.String("RoleArn")
	if strings.HasSuffix(tx.Caller, ":root") {
		return nil, errorf(http.StatusForbidden, "AccessDenied", "Roles may not be assumed by root accounts.")
	}
	if tx.Session != nil && s.SourceIdentity == "" {
		s.SourceIdentity = tx.Session.SourceIdentity
	}
	keys := map[string][]string{"sts:RoleSessionName": {r.String("RoleSessionName")}}
	if id := r.String("ExternalId"); id != "" {
		keys["sts:ExternalId"] = []string{id}
	}
	if s.SourceIdentity != "" {
		keys["sts:SourceIdentity"] = []string{s.SourceIdentity}
	}
	actions := []string{"sts:AssumeRole"}
	if len(s.Tags) > 0 {
		actions = append(actions, "sts:TagSession")
		for k, v := range s.Tags {
			keys["aws:RequestTag/"+k] = []string{v}
			keys["aws:TagKeys"] = append(keys["aws:TagKeys"], k)
		}
	}
	if r.Has("SourceIdentity") {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	for _, action := range actions {
		if refusal := iam.Permit(tx, tx.Caller, access.Demand{Action: action, Resources: []string{arn}, Context: keys}); refusal != nil {
			return nil, refusal
		}
	}
	if role == nil || strings.HasPrefix(props.Str(role.Props, "Path"), "/aws-service-role/") {
		return nil, errorf(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s", tx.Caller, arn)
	}
	out, err := finish(tx, r, role, s, strings.Contains(tx.Caller, ":assumed-role/"))
	if err != nil {
		return nil, err
	}
	return out, nil
}

// assumeRoleWithWebIdentity gives a session of a role for a token of an OpenID
// Connect issuer that this account has as provider.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
func assumeRoleWithWebIdentity(tx *account.Tx, r *wire.Request) (any, error) {
	if p := r.String("ProviderId"); p != "" {
		return nil, account.NotModelled("the identity provider %s is not modelled by the sandbox", p)
	}
	role, s, err := begin(tx, r)
	if err != nil {
		return nil, err
	}
	token, ok := parseToken(r.String("WebIdentityToken"))
	bad := func(format string, args ...any) error {
		return errorf(http.StatusBadRequest, "InvalidIdentityToken", format, args...)
	}
	if !ok {
		return nil, bad("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	}
	if token.claims.AWS != nil {
		return nil, account.NotModelled("session tags in tokens of OpenID Connect issuers are not modelled by the sandbox")
	}
	issuer := strings.TrimSuffix(strings.TrimPrefix(token.claims.Issuer, "https://"), "/")
	provider := tx.Get(iam.TypeOIDCProvider, tx.GlobalARN("iam", "oidc-provider/"+issuer))
	if provider == nil {
		return nil, bad("No OpenIDConnect provider found in your account for %s", token.claims.Issuer)
	}
	jwks, own := eks.IssuerKeys(tx, token.claims.Issuer)
	if !own {
		jwks, err = tx.IssuerKeys(token.claims.Issuer)
	}
	if err != nil {
		return nil, bad("Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements")
	}
	valid, known := token.verify(jwks)
	now := tx.Now()
	if own {
		// A Kubernetes that runs issues its tokens at the wall's time.
		now = time.Now()
	}
	expires := time.Unix(int64(token.claims.Expires), 0)
	audience := slices.Clone(token.audiences())
	switch {
	case !known:
		return nil, bad("Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements")
	case !valid:
		return nil, bad("The signature of the ID token could not be verified")
	case token.claims.Subject == "" || token.claims.Expires == 0 || token.claims.Issued == 0:
		return nil, bad("Missing a required claim: sub, exp and iat have to be there")
	case !expires.After(now):
		return nil, errorf(http.StatusBadRequest, "ExpiredTokenException", "Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), expires.Unix())
	case int64(max(token.claims.NotUntil, token.claims.Issued)) > now.Add(5*time.Minute).Unix():
		return nil, bad("The ID Token provided is not yet valid")
	case !slices.ContainsFunc(props.Strs(provider.Props, "ClientIdList"), func(id string) bool { return slices.Contains(audience, id) }):
		return nil, bad("Incorrect token audience")
	}
	s.Provider = provider.ID
	keys := policy.Keys{
		"sts:rolesessionname": {r.String("RoleSessionName")}, "aws:federatedprovider": {provider.ID},
		strings.ToLower(issuer + ":sub"): {token.claims.Subject}, strings.ToLower(issuer + ":aud"): {cmp.Or(token.claims.Party, audience[0])},
	}
	if token.claims.Party != "" {
		keys[strings.ToLower(issuer+":oaud")] = audience
	}
	trusted := false
	for _, doc := range iam.Policies(tx, r.String("RoleArn")) {
		trusted = doc.Allows(policy.Request{Type: "Federated", Principal: provider.ID, Action: "sts:AssumeRoleWithWebIdentity", Context: keys})
	}
	if role == nil || !trusted {
		return nil, errorf(http.StatusForbidden, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	}
	out, err := finish(tx, r, role, s, false)
	if err != nil {
		return nil, err
	}
	out["SubjectFromWebIdentityToken"], out["Audience"], out["Provider"] = token.claims.Subject, audience[0], provider.ID
	return out, nil
}

// getSessionToken gives a user temporary credentials with its own rights.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
func getSessionToken(tx *account.Tx, r *wire.Request) (any, error) {
	if r.Has("SerialNumber") || r.Has("TokenCode") {
		return nil, account.NotModelled("MFA devices are not modelled by the sandbox")
	}
	if tx.Session != nil || strings.Contains(tx.Caller, ":assumed-role/") {
		return nil, errorf(http.StatusForbidden, "AccessDenied", "Cannot call GetSessionToken with session credentials")
	}
	usual, most := maxLife, 129600
	if strings.HasSuffix(tx.Caller, ":root") {
		usual, most = 3600, 3600
	}
	d, err := life(r, usual, most)
	if err != nil {
		return nil, err
	}
	s := account.Session{Operation: r.Operation}
	if id := iam.UserID(tx, tx.Caller); id != tx.AccountID() {
		s.Entity = id
	}
	c, err := issue(tx, tx.Caller, s, d)
	if err != nil {
		return nil, err
	}
	return map[string]any{"Credentials": c.view()}, nil
}

// getAccessKeyInfo tells the account of a key, which its id says.
func getAccessKeyInfo(tx *account.Tx, r *wire.Request) (any, error) {
	id := r.String("AccessKeyId")
	if len(id) < 16 || len(id) > 128 {
		return nil, invalid("1 validation error detected: Value '%s' at 'accessKeyId' failed to satisfy constraint: Member must have length between 16 and 128", id)
	}
	of, ok := iam.KeyAccount(id)
	if id == r.AccessKeyID {
		of, ok = tx.AccountID(), true
	}
	if !ok {
		return nil, invalid("Access key %s does not belong to an account", id)
	}
	return map[string]any{"Account": of}, nil
}

func decodeAuthorizationMessage(tx *account.Tx, r *wire.Request) (any, error) {
	text, ok := iam.DecodeMessage(tx, r.String("EncodedMessage"))
	if !ok {
		return nil, errorf(http.StatusBadRequest, "InvalidAuthorizationMessageException", "Message is not valid")
	}
	return map[string]any{"DecodedMessage": text}, nil
}
