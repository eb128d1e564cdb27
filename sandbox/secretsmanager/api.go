package secretsmanager

import (
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service returns Secrets Manager's API.
func Service() wire.Service {
	return wire.Service{
		Name: "secretsmanager", Target: "secretsmanager", Protocol: wire.JSON11,
		Operations: []wire.Operation{
			{Name: "CreateSecret", Do: apiCreateSecret},
			{Name: "GetSecretValue", Do: onSecret(getSecretValue)},
			{Name: "DescribeSecret", Do: onSecret(func(_ *account.Tx, _ *wire.Request, s *account.Resource) (any, error) { return view(s), nil })},
			{Name: "PutSecretValue", Do: onSecret(putSecretValue)},
			{Name: "UpdateSecret", Do: onSecret(updateSecret)},
			{Name: "UpdateSecretVersionStage", Do: onSecret(moveLabel)},
			{Name: "ListSecretVersionIds", Do: onSecret(listVersions)},
			{Name: "RotateSecret", Do: onSecret(rotateSecret)},
			{Name: "DeleteSecret", Do: onSecret(deleteSecret)},
			{Name: "RestoreSecret", Do: onSecret(restoreSecret)},
			{Name: "ListSecrets", Do: listSecrets},
			{Name: "TagResource", Do: onSecret(func(_ *account.Tx, r *wire.Request, s *account.Resource) (any, error) {
				if err := present(s); err != nil {
					return nil, err
				}
				for k, v := range props.Tags(r.In, "Tags") {
					s.Tags[k] = v
				}
				return nil, nil
			})},
			{Name: "UntagResource", Do: onSecret(func(_ *account.Tx, r *wire.Request, s *account.Resource) (any, error) {
				for _, k := range r.Strings("TagKeys") {
					delete(s.Tags, k)
				}
				return nil, nil
			})},
			{Name: "GetResourcePolicy", Do: onSecret(func(_ *account.Tx, _ *wire.Request, s *account.Resource) (any, error) {
				out := map[string]any{"ARN": s.ID, "Name": s.Data["Name"]}
				if p := props.Str(s.Data, "policy"); p != "" {
					out["ResourcePolicy"] = p
				}
				return out, nil
			})},
			{Name: "PutResourcePolicy", Do: onSecret(putPolicy)},
			{Name: "DeleteResourcePolicy", Do: onSecret(func(_ *account.Tx, _ *wire.Request, s *account.Resource) (any, error) {
				delete(s.Data, "policy")
				return map[string]any{"ARN": s.ID, "Name": s.Data["Name"]}, nil
			})},
			{Name: "GetRandomPassword", Do: func(tx *account.Tx, r *wire.Request) (any, error) {
				p, err := password(tx, r.In)
				return map[string]any{"RandomPassword": p}, err
			}},
		},
	}
}

func onSecret(do func(*account.Tx, *wire.Request, *account.Resource) (any, error)) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		s, err := Lookup(tx, r.String("SecretId"))
		if err != nil {
			return nil, err
		}
		r.Resource = s.ID
		return do(tx, r, s)
	}
}

func apiCreateSecret(tx *account.Tx, r *wire.Request) (any, error) {
	if r.String("Name") == "" {
		return nil, account.Errorf("InvalidParameterException", "You must provide a name for the secret.")
	}
	p := map[string]any{"Name": r.String("Name"), "Tags": props.Pairs(props.Tags(r.In, "Tags"))}
	for member, prop := range map[string]string{"Description": "Description", "KmsKeyId": "KmsKeyId", "SecretString": "SecretString", "AddReplicaRegions": "ReplicaRegions"} {
		if r.Has(member) {
			p[prop] = r.In[member]
		}
	}
	s, _, err := tx.Create(TypeSecret, p, tx.Caller, false)
	if err != nil {
		return nil, err
	}
	if b := r.String("SecretBinary"); b != "" {
		if _, err := put(tx, s, keyOf(s.Props), "", value{binary, b}, current); err != nil {
			return nil, err
		}
	}
	if id, v := r.String("ClientRequestToken"), byLabel(s, current); id != "" && v != nil {
		if err := rename(tx, s, v, id); err != nil {
			return nil, err
		}
	}
	r.Resource = s.ID
	return written(s, current), tx.Settle(s, "create")
}

// written answers a write of the version that has a label, if there is one.
func written(s *account.Resource, label string) map[string]any {
	out := map[string]any{"ARN": s.ID, "Name": s.Data["Name"]}
	if v := byLabel(s, label); v != nil {
		out["VersionId"] = v["id"]
	}
	return out
}

// putPolicy attaches a resource policy. It may be public unless the request
// says otherwise.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutResourcePolicy.html
func putPolicy(_ *account.Tx, r *wire.Request, s *account.Resource) (any, error) {
	if err := own(s); err != nil {
		return nil, err
	}
	text := r.String("ResourcePolicy")
	doc, err := policy.Parse(text, policy.Resource)
	if err != nil {
		return nil, account.Errorf("MalformedPolicyDocumentException", "This resource policy contains a syntax error: %v", err)
	}
	if r.Bool("BlockPublicPolicy", false) && doc.Allows(policy.Request{Type: "AWS", Principal: "arn:aws:iam::000000000000:role/anybody", Action: "secretsmanager:GetSecretValue", Resource: s.ID}) {
		return nil, account.Errorf("PublicPolicyException", "The BlockPublicPolicy parameter is set to true, and the resource policy did not prevent broad access to the secret.")
	}
	s.Data["policy"] = text
	return map[string]any{"ARN": s.ID, "Name": s.Data["Name"]}, nil
}

func getSecretValue(tx *account.Tx, r *wire.Request, s *account.Resource) (any, error) {
	if err := present(s); err != nil {
		return nil, err
	}
	stage, id := r.String("VersionStage"), r.String("VersionId")
	v, what := byID(s, id), "VersionId: "+id
	if id == "" {
		if stage == "" {
			stage = current
		}
		v, what = byLabel(s, stage), "staging label: "+stage
	} else if v != nil && stage != "" && !slices.Contains(props.Strs(v, "stages"), stage) {
		return nil, account.Errorf("InvalidRequestException", "You provided a VersionStage that is not associated to the provided VersionId.")
	}
	if v == nil {
		return nil, account.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for %s", what)
	}
	out := map[string]any{"ARN": s.ID, "Name": s.Data["Name"], "CreatedDate": v["created"], "VersionId": v["id"]}
	if l := props.List(v, "stages"); len(l) > 0 {
		out["VersionStages"] = l
	}
	have, err := open(tx, s, v)
	if err != nil {
		return nil, err
	}
	if have.form == binary {
		out["SecretBinary"] = have.content
	} else {
		out["SecretString"] = have.content
	}
	return out, nil
}

func view(s *account.Resource) map[string]any {
	v := map[string]any{
		"ARN": s.ID, "Name": s.Data["Name"], "CreatedDate": s.Created, "LastChangedDate": s.Data["Changed"], "Tags": props.Pairs(s.Tags),
	}
	for _, k := range []string{"Description", "KmsKeyId"} {
		if x := props.Str(s.Props, k); x != "" {
			v[k] = x
		}
	}
	if d := s.Data["DeletedDate"]; d != nil {
		v["DeletedDate"] = d
	}
	stages := map[string]any{}
	for _, x := range versions(s) {
		if l := props.List(x, "stages"); len(l) > 0 {
			stages[props.Str(x, "id")] = l
		}
	}
	if len(stages) > 0 {
		v["VersionIdsToStages"] = stages
	}
	if service, ok := strings.CutSuffix(s.Owner, ".amazonaws.com"); ok {
		v["OwningService"] = service
	}
	if n := props.Int(s.Data, 0, "rotationDays"); n > 0 {
		v["RotationEnabled"] = true
		v["RotationRules"] = map[string]any{"AutomaticallyAfterDays": n}
		last := s.Created
		if at, ok := s.Data["rotatedAt"].(time.Time); ok {
			last = at
			v["LastRotatedDate"] = at
		}
		v["NextRotationDate"] = last.Add(time.Duration(n) * 24 * time.Hour)
	}
	return v
}

func putSecretValue(tx *account.Tx, r *wire.Request, s *account.Resource) (any, error) {
	if err := present(s); err != nil {
		return nil, err
	}
	if err := own(s); err != nil {
		return nil, err
	}
	labels := r.Strings("VersionStages")
	if len(labels) == 0 {
		labels = []string{current}
	}
	id, err := store(tx, r, s, labels...)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"ARN": s.ID, "Name": s.Data["Name"]}
	if v := byID(s, id); v != nil {
		out["VersionId"], out["VersionStages"] = id, v["stages"]
	}
	return out, nil
}

// store writes the value in the request, if there is one, as a version with
// labels. The client's token is the version's id: the same request twice is
// one.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
func store(tx *account.Tx, r *wire.Request, s *account.Resource, labels ...string) (string, error) {
	str, bin, id := r.String("SecretString"), r.String("SecretBinary"), r.String("ClientRequestToken")
	if len(str) > maxValue || len(bin) > maxValue*4/3+4 {
		return "", account.Errorf("InvalidParameterException", "The secret value is larger than %d bytes.", maxValue)
	}
	if err := check(tx, s.ID, s.Owner, s.Props); err != nil {
		return "", err
	}
	next := value{text, str}
	switch {
	case str != "" && bin != "":
		return "", account.Errorf("InvalidParameterException", "You can't specify both a binary secret value and a string secret value in the same secret.")
	case bin != "":
		next = value{binary, bin}
	case str == "":
		return "", nil
	}
	if old := byID(s, id); id != "" && old != nil {
		if have, err := open(tx, s, old); err != nil {
			return "", err
		} else if have != next {
			return "", account.Errorf("ResourceExistsException", "You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", id, s.ID)
		}
		return id, nil
	}
	v, err := put(tx, s, keyOf(s.Props), id, next, labels...)
	return props.Str(v, "id"), err
}

func updateSecret(tx *account.Tx, r *wire.Request, s *account.Resource) (any, error) {
	if err := present(s); err != nil {
		return nil, err
	}
	if err := own(s); err != nil {
		return nil, err
	}
	next, _ := account.Copy(s.Props).(map[string]any)
	for _, k := range []string{"Description", "KmsKeyId"} {
		if r.Has(k) {
			next[k] = r.String(k)
		}
	}
	if _, err := tx.Update(s, next, false); err != nil {
		return nil, err
	}
	if _, err := store(tx, r, s, current); err != nil {
		return nil, err
	}
	return written(s, current), nil
}

// deleteSecret starts the recovery window; without one the secret goes at once.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html
func deleteSecret(tx *account.Tx, r *wire.Request, s *account.Resource) (any, error) {
	force, days := r.Bool("ForceDeleteWithoutRecovery", false), r.Int("RecoveryWindowInDays", 0)
	switch {
	case force && days != 0:
		return nil, account.Errorf("InvalidParameterException", "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
	case days != 0 && (days < 7 || days > 30):
		return nil, account.Errorf("InvalidParameterException", "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
	}
	if err := own(s); err != nil {
		return nil, err
	}
	out := map[string]any{"ARN": s.ID, "Name": s.Data["Name"], "DeletionDate": tx.Now()}
	if force {
		if _, err := tx.Delete(s, false); err != nil {
			return nil, err
		}
		return out, tx.Settle(s, "delete")
	}
	if err := present(s); err != nil {
		return nil, err
	}
	if days == 0 {
		days = 30
	}
	window := time.Duration(days) * 24 * time.Hour
	s.Data["DeletedDate"] = tx.Now()
	s.Data["DeletionDate"] = tx.Now().Add(window)
	tx.After(window, account.Event{Calendar: true, Kind: deleteEvent, Type: TypeSecret, ID: s.ID})
	out["DeletionDate"] = s.Data["DeletionDate"]
	return out, nil
}

func restoreSecret(_ *account.Tx, _ *wire.Request, s *account.Resource) (any, error) {
	delete(s.Data, "DeletedDate")
	delete(s.Data, "DeletionDate")
	return map[string]any{"ARN": s.ID, "Name": s.Data["Name"]}, nil
}

// listed tells whether a secret passes all filters.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Filter.html
func listed(s *account.Resource, filters []map[string]any) (bool, error) {
	for _, f := range filters {
		values := props.Strs(f, "Values")
		begins := func(have string) bool {
			return slices.ContainsFunc(values, func(want string) bool {
				if rest, ok := strings.CutPrefix(want, "!"); ok {
					return !strings.HasPrefix(have, rest)
				}
				return strings.HasPrefix(have, want)
			})
		}
		ok := false
		switch props.Str(f, "Key") {
		case "name":
			ok = begins(props.Str(s.Data, "Name"))
		case "description":
			ok = begins(props.Str(s.Props, "Description"))
		case "tag-key", "tag-value", "all":
			for k, v := range s.Tags {
				ok = ok || props.Str(f, "Key") != "tag-value" && begins(k) || props.Str(f, "Key") != "tag-key" && begins(v)
			}
			ok = ok || props.Str(f, "Key") == "all" && begins(props.Str(s.Data, "Name"))
		case "owning-service":
			ok = begins(strings.TrimSuffix(s.Owner, ".amazonaws.com"))
		default:
			return false, account.Errorf("InvalidParameterException", "The filter key %s is not valid.", props.Str(f, "Key"))
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func listSecrets(tx *account.Tx, r *wire.Request) (any, error) {
	items := []any{}
	for _, s := range tx.List(TypeSecret) {
		ok, err := listed(s, r.Maps("Filters"))
		if err != nil {
			return nil, err
		}
		if ok && (s.Data["DeletedDate"] == nil || r.Bool("IncludePlannedDeletion", false)) {
			v := view(s)
			v["SecretVersionsToStages"] = v["VersionIdsToStages"]
			delete(v, "VersionIdsToStages")
			items = append(items, v)
		}
	}
	page, next, err := wire.Page(items, r.String("NextToken"), r.Int("MaxResults", 100), "InvalidNextTokenException")
	if err != nil {
		return nil, err
	}
	out := map[string]any{"SecretList": page}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}
