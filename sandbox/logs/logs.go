// Package logs is Amazon CloudWatch Logs: log groups.
//
// Invariants: names are unique; a group's key exists, is enabled, and its
// policy lets CloudWatch Logs use it for that very group; a group that EKS, RDS
// or a flow log still writes to comes back after its deletion.
//
// Limits: streams, events, filters, subscriptions and resource policies are
// not modelled; a group is always empty.
package logs

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/quota"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// TypeLogGroup is the resource type of this package; its id is the group's
// name.
const TypeLogGroup = "AWS::Logs::LogGroup"

// Types are the resource types of this package.
func Types() []*account.Type { return []*account.Type{logGroupType()} }

var namePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`) })

// retentions are the days that a group may keep its events.
// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
func retentions() []int {
	return []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
}

// arn is a group's ARN without the wildcard for its streams.
func arn(tx *account.Tx, name string) string { return tx.ARN("logs", "log-group:"+name) }

func logGroupType() *account.Type {
	return &account.Type{
		Name: TypeLogGroup, Latency: "logs:group",
		Create: func(tx *account.Tx, r *account.Resource) error {
			name := props.Str(r.Props, "LogGroupName")
			if name == "" {
				name = tx.Name(r, 512)
			}
			if !namePattern().MatchString(name) {
				return account.Errorf("InvalidParameterException", "1 validation error detected: Value '%s' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+", name)
			}
			if strings.HasPrefix(name, "aws/") {
				return account.Errorf("InvalidParameterException", "Log groups starting with aws/ are reserved for AWS.")
			}
			if tx.Get(TypeLogGroup, name) != nil {
				return account.Errorf("ResourceAlreadyExistsException", "The specified log group already exists")
			}
			if err := quota.LogGroups.Check(tx, tx.Count(TypeLogGroup)); err != nil {
				return err
			}
			if err := check(tx, name, r.Props); err != nil {
				return err
			}
			r.ID = name
			r.Attrs["Arn"] = arn(tx, name) + ":*"
			r.Tags = props.Tags(r.Props, "Tags")
			return nil
		},
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if class(r.Props) != class(next) {
				return account.Errorf("InvalidRequest", "LogGroupClass cannot be updated")
			}
			if err := check(tx, r.ID, next); err != nil {
				return err
			}
			r.Retag(next, "Tags")
			return nil
		},
		Delete: func(_ *account.Tx, r *account.Resource) error {
			if props.Bool(r.Props, false, "DeletionProtectionEnabled") {
				return account.Errorf("ValidationException", "Log group %s has deletion protection enabled. Disable deletion protection before deleting it.", r.ID)
			}
			return nil
		},
		Gone: func(tx *account.Tx, r *account.Resource) { comeBack(tx, r.ID) },
	}
}

func class(p map[string]any) string {
	if c := props.Str(p, "LogGroupClass"); c != "" {
		return c
	}
	return "STANDARD"
}

// check checks what of a group can change.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
func check(tx *account.Tx, name string, p map[string]any) error {
	if !slices.Contains([]string{"STANDARD", "INFREQUENT_ACCESS", "DELIVERY"}, class(p)) {
		return account.Errorf("InvalidParameterException", "Invalid log group class: %s", class(p))
	}
	if props.Has(p, "RetentionInDays") && !slices.Contains(retentions(), props.Int(p, 0, "RetentionInDays")) {
		return account.Errorf("InvalidParameterException", "1 validation error detected: Value '%s' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: %v", props.Str(p, "RetentionInDays"), retentions())
	}
	if err := account.Unmodelled(TypeLogGroup, p, "DataProtectionPolicy", "FieldIndexPolicies", "ResourcePolicyDocument"); err != nil {
		return err
	}
	key := props.Str(p, "KmsKeyId")
	if key == "" {
		return nil
	}
	principal := "logs." + tx.Region() + ".amazonaws.com"
	context := map[string]string{"kms:EncryptionContext:aws:logs:arn": arn(tx, name), "aws:SourceArn": arn(tx, name)}
	_, err := kms.Usable(tx, key, principal, context, "kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:GenerateDataKey")
	if err != nil || !strings.HasPrefix(key, "arn:") {
		return account.Errorf("AccessDeniedException", "The specified KMS Key does not exist or is not allowed to be used with Arn '%s'", arn(tx, name))
	}
	return nil
}

// Service returns CloudWatch Logs' API.
func Service() wire.Service {
	return wire.Service{
		Name: "logs", Target: "Logs_20140328", Protocol: wire.JSON11,
		Operations: []wire.Operation{
			{Name: "CreateLogGroup", Do: createLogGroup},
			{Name: "DescribeLogGroups", Do: describeLogGroups},
			{Name: "DeleteLogGroup", Do: onGroup(func(tx *account.Tx, _ *wire.Request, g *account.Resource) (any, error) {
				if _, err := tx.Delete(g, false); err != nil {
					return nil, err
				}
				return nil, tx.Settle(g, "delete")
			})},
			{Name: "PutRetentionPolicy", Do: onGroup(set("RetentionInDays", "retentionInDays"))},
			{Name: "DeleteRetentionPolicy", Do: onGroup(set("RetentionInDays", ""))},
			{Name: "AssociateKmsKey", Do: onGroup(set("KmsKeyId", "kmsKeyId"))},
			{Name: "DisassociateKmsKey", Do: onGroup(set("KmsKeyId", ""))},
			{Name: "PutLogGroupDeletionProtection", Do: onGroup(set("DeletionProtectionEnabled", "deletionProtectionEnabled"))},
			{Name: "ListTagsForResource", Do: onARN(func(_ *wire.Request, g *account.Resource) (any, error) {
				tags := map[string]any{}
				for k, v := range g.Tags {
					tags[k] = v
				}
				return map[string]any{"tags": tags}, nil
			})},
			{Name: "TagResource", Do: onARN(func(r *wire.Request, g *account.Resource) (any, error) {
				for k, v := range wire.TagMap(r.In["tags"]) {
					g.Tags[k] = v
				}
				return nil, nil
			})},
			{Name: "UntagResource", Do: onARN(func(r *wire.Request, g *account.Resource) (any, error) {
				for _, k := range r.Strings("tagKeys") {
					delete(g.Tags, k)
				}
				return nil, nil
			})},
		},
	}
}

func lookup(tx *account.Tx, name string) (*account.Resource, error) {
	g := tx.Get(TypeLogGroup, name)
	if g == nil {
		return nil, account.Errorf("ResourceNotFoundException", "The specified log group does not exist.")
	}
	return g, nil
}

func onGroup(do func(*account.Tx, *wire.Request, *account.Resource) (any, error)) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		name := r.String("logGroupName")
		for _, k := range []string{"resourceIdentifier", "logGroupIdentifier"} {
			if id := r.String(k); id != "" {
				name = strings.TrimPrefix(id, arn(tx, ""))
			}
		}
		g, err := lookup(tx, name)
		if err != nil {
			return nil, err
		}
		r.Resource = arn(tx, g.ID)
		return do(tx, r, g)
	}
}

func onARN(do func(*wire.Request, *account.Resource) (any, error)) func(*account.Tx, *wire.Request) (any, error) {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		g, err := lookup(tx, strings.TrimSuffix(strings.TrimPrefix(r.String("resourceArn"), arn(tx, "")), ":*"))
		if err != nil {
			return nil, err
		}
		r.Resource = arn(tx, g.ID)
		return do(r, g)
	}
}

// set sets one property from a member of the request; from none, removes it.
func set(property, member string) func(*account.Tx, *wire.Request, *account.Resource) (any, error) {
	return func(tx *account.Tx, r *wire.Request, g *account.Resource) (any, error) {
		next, _ := account.Copy(g.Props).(map[string]any)
		delete(next, property)
		if member != "" {
			next[property] = r.In[member]
		}
		_, err := tx.Update(g, next, false)
		return nil, err
	}
}

func createLogGroup(tx *account.Tx, r *wire.Request) (any, error) {
	if r.String("logGroupName") == "" {
		return nil, account.Errorf("InvalidParameterException", "1 validation error detected: Value null at 'logGroupName' failed to satisfy constraint: Member must not be null")
	}
	p := map[string]any{"LogGroupName": r.String("logGroupName"), "Tags": props.Pairs(wire.TagMap(r.In["tags"]))}
	for member, prop := range map[string]string{"kmsKeyId": "KmsKeyId", "logGroupClass": "LogGroupClass", "deletionProtectionEnabled": "DeletionProtectionEnabled"} {
		if r.Has(member) {
			p[prop] = r.In[member]
		}
	}
	g, _, err := tx.Create(TypeLogGroup, p, tx.Caller, false)
	if err != nil {
		return nil, err
	}
	r.Resource = arn(tx, g.ID)
	return nil, tx.Settle(g, "create")
}

func describeLogGroups(tx *account.Tx, r *wire.Request) (any, error) {
	prefix, pattern := r.String("logGroupNamePrefix"), r.String("logGroupNamePattern")
	if prefix != "" && pattern != "" {
		return nil, account.Errorf("InvalidParameterException", "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	items := []any{}
	for _, g := range tx.List(TypeLogGroup) {
		if !strings.HasPrefix(g.ID, prefix) || !strings.Contains(strings.ToLower(g.ID), strings.ToLower(pattern)) {
			continue
		}
		if ids := r.Strings("logGroupIdentifiers"); ids != nil && !slices.Contains(ids, g.ID) && !slices.Contains(ids, arn(tx, g.ID)) {
			continue
		}
		if c := r.String("logGroupClass"); c != "" && c != class(g.Props) {
			continue
		}
		items = append(items, view(tx, g))
	}
	limit := r.Int("limit", 50)
	if limit < 1 || limit > 50 {
		return nil, account.Errorf("InvalidParameterException", "1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value between 1 and 50", limit)
	}
	page, next, err := wire.Page(items, r.String("nextToken"), limit, "InvalidParameterException")
	if err != nil {
		return nil, err
	}
	out := map[string]any{"logGroups": page}
	if next != "" {
		out["nextToken"] = next
	}
	return out, nil
}

func view(tx *account.Tx, g *account.Resource) map[string]any {
	v := map[string]any{
		"logGroupName": g.ID, "arn": arn(tx, g.ID) + ":*", "logGroupArn": arn(tx, g.ID), "creationTime": float64(g.Created.UnixMilli()),
		"storedBytes": 0, "metricFilterCount": 0, "logGroupClass": class(g.Props), "deletionProtectionEnabled": props.Bool(g.Props, false, "DeletionProtectionEnabled"),
	}
	if n := props.Int(g.Props, 0, "RetentionInDays"); n > 0 {
		v["retentionInDays"] = n
	}
	if k := props.Str(g.Props, "KmsKeyId"); k != "" {
		v["kmsKeyId"] = k
	}
	return v
}
