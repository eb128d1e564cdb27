// Package cloudtrail is AWS CloudTrail's event history: who changed what in the
// account, for 90 days.
//
// [Record] keeps the calls that write, refused ones included, in the account's
// journal, so that they are forked with it. As on AWS, an event can be looked
// up some minutes after the call, and those of global services only in their
// home region.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html
//
// Limits: calls that read are not kept, nor those that CloudFormation and other
// services make by themselves or on behalf of a caller, nor data events; the
// latest 10,000 are. Request parameters are those of the request, without
// bodies of S3, and responses are left out. There are no trails, event data
// stores or Insights.
package cloudtrail

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// kind is the journal's kind of entries here.
const kind = "cloudtrail"

// delay is how long an event typically takes to arrive. See
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
const delay = 5 * time.Minute

// history is how long events can be looked up, and pageSize the most in one
// answer.
const (
	history  = 90 * 24 * time.Hour
	pageSize = 50
)

// Service returns CloudTrail's API.
func Service() wire.Service {
	return wire.Service{
		Name: "cloudtrail", Target: "CloudTrail_20131101", Protocol: wire.JSON11,
		Operations: []wire.Operation{{Name: "LookupEvents", Do: lookupEvents}},
	}
}

// reading are the beginnings of the names of operations that only read, or that
// CloudTrail counts as such.
var reading = regexp.MustCompile(`^(Describe|Get|List|Lookup|Head|Validate|BatchGet|BatchCheck|Simulate|AssumeRole|Decode|Search|Encrypt|Decrypt|ReEncrypt|GenerateDataKey|Estimate)`)

// object are S3's operations on objects, which are data events.
var object = regexp.MustCompile(`Object|Upload|^CreateSession$`)

// Record keeps a call that was carried out or refused with err.
func Record(tx *account.Tx, r *wire.Request, err error) {
	switch {
	case reading.MatchString(r.Operation), r.Service == "cloudtrail",
		r.Service == "s3" && (object.MatchString(r.Operation) && r.Operation != "PutObjectLockConfiguration"),
		r.Service == "logs" && r.Operation == "PutLogEvents":
		return
	}
	at := tx.Now()
	data := map[string]any{
		"id": eventID(r.ID), "name": eventName(r), "source": r.Service + ".amazonaws.com", "region": region(tx, r.Service), "key": r.AccessKeyID,
		"user": userName(r.Caller), "resources": resources(r),
	}
	event := map[string]any{
		"eventVersion": "1.11", "eventID": data["id"], "eventName": data["name"], "eventSource": data["source"], "eventTime": at.UTC().Format(time.RFC3339),
		"eventType": "AwsApiCall", "eventCategory": "Management", "managementEvent": true, "readOnly": false, "awsRegion": data["region"],
		"recipientAccountId": tx.AccountID(), "requestID": r.ID, "sourceIPAddress": r.SourceIP, "userAgent": r.UserAgent,
		"userIdentity": identity(tx, r), "requestParameters": parameters(r), "responseElements": nil,
	}
	if refusal, ok := err.(*account.Error); ok {
		event["errorCode"], event["errorMessage"] = refusal.Code, refusal.Message
	} else if err != nil {
		return
	}
	body, encodeErr := json.Marshal(event)
	if encodeErr != nil {
		// Decoded requests always marshal.
		return
	}
	data["event"] = string(body)
	tx.Note(kind, data)
}

// eventID makes an event's id of the request's, both of the form of a UUID.
func eventID(request string) string {
	if request == "" {
		return request
	}
	return request[1:] + request[:1]
}

// eventName is the operation's name; S3 has other ones for some. See
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html
func eventName(r *wire.Request) string {
	if r.Service == "s3" {
		switch r.Operation {
		case "PutPublicAccessBlock":
			return "PutBucketPublicAccessBlock"
		case "DeletePublicAccessBlock":
			return "DeleteBucketPublicAccessBlock"
		case "PutBucketLifecycleConfiguration":
			return "PutBucketLifecycle"
		}
	}
	return r.Operation
}

// region is where a service's events are found: for global ones, the
// partition's home. See
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-concepts.html#cloudtrail-concepts-global-service-events
func region(tx *account.Tx, service string) string {
	if service == "iam" || service == "route53" {
		return wire.HomeRegion(tx.Region())
	}
	return tx.Region()
}

// userName is what the event history calls the caller: a user's name, or that
// of a session.
func userName(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// identity is who called. See
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
func identity(tx *account.Tx, r *wire.Request) map[string]any {
	id := map[string]any{"arn": r.Caller, "accountId": tx.AccountID(), "accessKeyId": r.AccessKeyID}
	if _, rest, ok := strings.Cut(r.Caller, ":assumed-role/"); ok {
		name, session, _ := strings.Cut(rest, "/")
		issuer := map[string]any{"type": "Role", "userName": name, "accountId": tx.AccountID(), "arn": tx.GlobalARN("iam", "role/"+name)}
		if role := tx.Get(iam.TypeRole, name); role != nil {
			issuer["arn"], issuer["principalId"] = role.Attrs["Arn"], role.Attrs["RoleId"]
		}
		id["type"], id["principalId"] = "AssumedRole", props.Str(issuer, "principalId")+":"+session
		id["sessionContext"] = map[string]any{"sessionIssuer": issuer, "attributes": map[string]any{"mfaAuthenticated": "false"}}
		return id
	}
	if strings.HasSuffix(r.Caller, ":root") {
		id["type"], id["principalId"] = "Root", tx.AccountID()
		return id
	}
	id["type"], id["userName"], id["principalId"] = "IAMUser", userName(r.Caller), iam.UserID(tx, r.Caller)
	return id
}

// hidden is what CloudTrail writes in place of secrets and templates.
const hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

var secret = regexp.MustCompile(`(?i)^(secretstring|secretbinary|masteruserpassword|clientsecret|templatebody|plaintext)$`)

// parameters are the request's, with names as CloudTrail writes them.
func parameters(r *wire.Request) any {
	in, _ := lower(r.In).(map[string]any)
	if r.Service == "ssm" && in["value"] != nil {
		in["value"] = hidden
	}
	if r.Service == "ecr" {
		delete(in, "layerPartBlob")
	}
	if r.Service == "s3" && in["bucket"] != nil {
		in["bucketName"] = in["bucket"]
		delete(in, "bucket")
	}
	return in
}

// lower copies a value with the first letters of names in lower case.
func lower(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			if secret.MatchString(k) {
				x = hidden
			}
			if k != "" {
				k = strings.ToLower(k[:1]) + k[1:]
			}
			m[k] = lower(x)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = lower(x)
		}
		return l
	}
	return v
}

// named are the parameters that name resources, for the services whose events
// can be found by them.
var named = map[string]map[string]string{
	"s3":                   {"Bucket": "AWS::S3::Bucket"},
	"kms":                  {"KeyId": "AWS::KMS::Key", "TargetKeyId": "AWS::KMS::Key"},
	"iam":                  {"RoleName": "AWS::IAM::Role", "PolicyArn": "AWS::IAM::Policy", "InstanceProfileName": "AWS::IAM::InstanceProfile"},
	"rds":                  {"DBInstanceIdentifier": "AWS::RDS::DBInstance", "DBParameterGroupName": "AWS::RDS::DBParameterGroup", "DBSubnetGroupName": "AWS::RDS::DBSubnetGroup"},
	"elasticloadbalancing": {"LoadBalancerArn": "AWS::ElasticLoadBalancingV2::LoadBalancer", "ListenerArn": "AWS::ElasticLoadBalancingV2::Listener", "TargetGroupArn": "AWS::ElasticLoadBalancingV2::TargetGroup"},
	"autoscaling":          {"AutoScalingGroupName": "AWS::AutoScaling::AutoScalingGroup"},
	"cloudformation":       {"StackName": "AWS::CloudFormation::Stack"},
	"secretsmanager":       {"SecretId": "AWS::SecretsManager::Secret"},
}

// ids are EC2's ids by their prefixes.
var ids = map[string]string{
	"sg": "AWS::EC2::SecurityGroup", "vpc": "AWS::EC2::VPC", "subnet": "AWS::EC2::Subnet", "rtb": "AWS::EC2::RouteTable", "nat": "AWS::EC2::NatGateway",
	"acl": "AWS::EC2::NetworkAcl", "igw": "AWS::EC2::InternetGateway", "eipalloc": "AWS::EC2::EIP", "vpce": "AWS::EC2::VPCEndpoint", "i": "AWS::EC2::Instance",
	"eni": "AWS::EC2::NetworkInterface", "sgr": "AWS::EC2::SecurityGroupRule", "fl": "AWS::EC2::FlowLog", "lt": "AWS::EC2::LaunchTemplate", "vol": "AWS::EC2::Volume",
}

var ec2ID = regexp.MustCompile(`^([a-z]+)-[0-9a-f]{8,17}$`)

// resources are those that a call names: name and type in turn. Not every
// service's events say.
func resources(r *wire.Request) []any {
	found := map[string]string{}
	if r.Service == "ec2" {
		scan(r.In, found)
	}
	for parameter, typ := range named[r.Service] {
		if name := r.String(parameter); name != "" {
			found[name] = typ
			if r.Resource != "" && (r.Service == "kms" || r.Service == "secretsmanager") {
				found[r.Resource] = typ
			}
		}
	}
	out := []any{}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		out = append(out, map[string]any{"ResourceName": name, "ResourceType": found[name]})
	}
	return out
}

// scan finds EC2's ids in a request.
func scan(v any, found map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			scan(x, found)
		}
	case []any:
		for _, x := range v {
			scan(x, found)
		}
	case string:
		if m := ec2ID.FindStringSubmatch(v); m != nil && ids[m[1]] != "" {
			found[v] = ids[m[1]]
		}
	}
}

func lookupEvents(tx *account.Tx, r *wire.Request) (any, error) {
	attributes := r.Maps("LookupAttributes")
	if len(attributes) > 1 {
		return nil, account.Errorf("InvalidLookupAttributesException", "Only one lookup attribute can be specified.")
	}
	limit := r.Int("MaxResults", pageSize)
	if limit < 1 || limit > pageSize {
		return nil, account.Errorf("InvalidMaxResultsException", "A page must have between 1 and %d results.", pageSize)
	}
	if c := r.String("EventCategory"); c != "" {
		if c != "insight" {
			return nil, account.Errorf("InvalidEventCategoryException", "Event category is invalid.")
		}
		return nil, account.NotModelled("Insights events are not modelled by the sandbox")
	}
	from, to := moment(r, "StartTime", tx.Now().Add(-history)), moment(r, "EndTime", tx.Now())
	if from.After(to) {
		return nil, account.Errorf("InvalidTimeRangeException", "The start time must be before the end time.")
	}
	match := func(account.Entry) bool { return true }
	if len(attributes) == 1 {
		var err error
		if match, err = attribute(attributes[0]); err != nil {
			return nil, err
		}
	}
	where := r.Region
	if where == "" {
		where = tx.Region()
	}
	// Pages are counted from the oldest, so that new events, which come first,
	// don't move the rest.
	var found []account.Entry
	for _, e := range tx.Noted(kind) {
		if e.At.Add(delay).After(tx.Now()) || e.At.Before(tx.Now().Add(-history)) || e.At.Before(from) || e.At.After(to) || e.Data["region"] != where {
			continue
		}
		if match(e) {
			found = append(found, e)
		}
	}
	if t := r.String("NextToken"); t != "" {
		seen, _, err := wire.Page(found, t, 0, "InvalidNextTokenException")
		if err != nil {
			return nil, err
		}
		found = found[:len(found)-len(seen)]
	}
	page := found[max(0, len(found)-limit):]
	out := map[string]any{"Events": shown(page)}
	if rest := len(found) - len(page); rest > 0 {
		_, next, err := wire.Page(found, "", rest, "InvalidNextTokenException")
		if err != nil {
			return nil, err
		}
		out["NextToken"] = next
	}
	return out, nil
}

// shown are events as they are answered, the newest first.
func shown(page []account.Entry) []any {
	out := make([]any, 0, len(page))
	for _, e := range slices.Backward(page) {
		out = append(out, map[string]any{
			"EventId": e.Data["id"], "EventName": e.Data["name"], "EventSource": e.Data["source"], "EventTime": e.At, "Username": e.Data["user"],
			"AccessKeyId": e.Data["key"], "ReadOnly": "false", "Resources": e.Data["resources"], "CloudTrailEvent": e.Data["event"],
		})
	}
	return out
}

// moment reads a time in seconds.
func moment(r *wire.Request, member string, otherwise time.Time) time.Time {
	s, err := strconv.ParseFloat(r.String(member), 64)
	if err != nil {
		return otherwise
	}
	return time.UnixMilli(int64(s * 1000))
}

// attribute is the test that a lookup attribute asks for.
func attribute(a map[string]any) (func(account.Entry) bool, error) {
	want := props.Str(a, "AttributeValue")
	of := func(member string) func(account.Entry) bool {
		return func(e account.Entry) bool { return props.Str(e.Data, member) == want }
	}
	among := func(member string) func(account.Entry) bool {
		return func(e account.Entry) bool {
			return slices.ContainsFunc(props.Maps(e.Data, "resources"), func(x map[string]any) bool { return props.Str(x, member) == want })
		}
	}
	switch props.Str(a, "AttributeKey") {
	case "EventId":
		return of("id"), nil
	case "EventName":
		return of("name"), nil
	case "EventSource":
		return of("source"), nil
	case "Username":
		return of("user"), nil
	case "AccessKeyId":
		return of("key"), nil
	case "ResourceName":
		return among("ResourceName"), nil
	case "ResourceType":
		return among("ResourceType"), nil
	case "ReadOnly":
		return func(account.Entry) bool { return want == "false" }, nil
	}
	return nil, account.Errorf("InvalidLookupAttributesException", "The lookup attribute is not valid: %s", props.Str(a, "AttributeKey"))
}
