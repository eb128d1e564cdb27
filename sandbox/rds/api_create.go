package rds

import (
	"maps"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// creatable are the parameters of CreateDBInstance and
// RestoreDBInstanceFromDBSnapshot that are modelled, besides those of
// ModifyDBInstance, with CloudFormation's names where they differ.
var creatable = map[string]string{
	"DBInstanceIdentifier": "", "DBName": "", "Engine": "", "MasterUsername": "", "AvailabilityZone": "", "DBSubnetGroupName": "", "Port": "", "LicenseModel": "",
	"StorageEncrypted": "", "KmsKeyId": "", "DBSnapshotIdentifier": "", "MasterUserSecretKmsKeyId": "MasterUserSecret", "EnableCloudwatchLogsExports": "", "Tags": "",
	"NetworkType": "", "UseDefaultProcessorFeatures": "", "EngineLifecycleSupport": "",
}

// apiCreateInstance makes an instance, or restores one from a snapshot, by default
// of the class of the snapshot's instance.
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_RestoreDBInstanceFromDBSnapshot.html
func apiCreateInstance(tx *account.Tx, r *wire.Request) (any, error) {
	p := map[string]any{}
	for k, v := range r.In {
		name, ok := creatable[k]
		if !ok {
			name, ok = changeable[k]
		}
		switch {
		case !ok || k == "CloudwatchLogsExportConfiguration":
			return nil, account.NotModelled("%s of %s is not modelled by the sandbox", k, r.Operation)
		case name == "":
			name = k
		}
		switch k {
		case "VpcSecurityGroupIds", "EnableCloudwatchLogsExports":
			v = props.List(r.Strings(k))
		case "MasterUserSecretKmsKeyId":
			v = map[string]any{"KmsKeyId": v}
		case "Tags":
			v = props.Pairs(r.Tags(k))
		}
		p[name] = v
	}
	if r.String("DBInstanceIdentifier") == "" {
		return nil, account.Errorf("MissingParameter", "The request must contain the parameter DBInstanceIdentifier")
	}
	if s := findSnapshot(tx, strings.ToLower(r.String("DBSnapshotIdentifier"))); s != nil && r.String("DBInstanceClass") == "" {
		p["DBInstanceClass"] = props.Str(s.Data, "class")
	}
	i, _, err := tx.Create(TypeInstance, p, r.Caller, true)
	if err != nil {
		return nil, err
	}
	r.Resource = props.Str(i.Attrs, "DBInstanceArn")
	return oneInstance{instanceOut(tx, i)}, nil
}

func apiCreateSubnetGroup(tx *account.Tx, r *wire.Request) (any, error) {
	g, _, err := tx.Create(TypeSubnetGroup, map[string]any{
		"DBSubnetGroupName": r.String("DBSubnetGroupName"), "DBSubnetGroupDescription": r.String("DBSubnetGroupDescription"),
		"SubnetIds": props.List(r.Strings("SubnetIds")), "Tags": props.Pairs(r.Tags("Tags")),
	}, r.Caller, false)
	if err != nil {
		return nil, err
	}
	return struct{ DBSubnetGroup subnetGroupXML }{subnetGroupOut(tx, g)}, tx.Settle(g, "create")
}

func apiDeleteSubnetGroup(tx *account.Tx, r *wire.Request) (any, error) {
	name := strings.ToLower(r.String("DBSubnetGroupName"))
	g := tx.Get(TypeSubnetGroup, name)
	if g == nil {
		return nil, missing("DBSubnetGroupNotFoundFault", "DB subnet group '%s' does not exist.", name)
	}
	if _, err := tx.Delete(g, false); err != nil {
		return nil, err
	}
	return nil, tx.Settle(g, "delete")
}

func apiCreateParameterGroup(tx *account.Tx, r *wire.Request) (any, error) {
	g, _, err := tx.Create(TypeParameterGroup, map[string]any{
		"DBParameterGroupName": r.String("DBParameterGroupName"), "Family": r.String("DBParameterGroupFamily"),
		"Description": r.String("Description"), "Tags": props.Pairs(r.Tags("Tags")),
	}, r.Caller, false)
	if err != nil {
		return nil, err
	}
	out := parameterGroupXML{g.ID, props.Str(g.Props, "Family"), props.Str(g.Props, "Description"), props.Str(g.Attrs, "DBParameterGroupArn")}
	return struct{ DBParameterGroup parameterGroupXML }{out}, tx.Settle(g, "create")
}

func apiDeleteParameterGroup(tx *account.Tx, r *wire.Request) (any, error) {
	name := strings.ToLower(r.String("DBParameterGroupName"))
	g := tx.Get(TypeParameterGroup, name)
	switch {
	case strings.HasPrefix(name, "default."):
		return nil, account.Errorf("InvalidDBParameterGroupState", "Default parameter groups can't be deleted: %s", name)
	case g == nil:
		return nil, missing("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name)
	}
	if _, err := tx.Delete(g, false); err != nil {
		return nil, err
	}
	return nil, tx.Settle(g, "delete")
}

// tagged finds what an ARN of RDS names, or nil.
func tagged(tx *account.Tx, arn string) *account.Resource {
	for _, t := range []struct{ typ, attr string }{{TypeInstance, "DBInstanceArn"}, {TypeSubnetGroup, "DBSubnetGroupArn"}, {TypeParameterGroup, "DBParameterGroupArn"}, {TypeSnapshot, "DBSnapshotArn"}} {
		if x := tx.Find(t.typ, func(x *account.Resource) bool { return props.Str(x.Attrs, t.attr) == arn }); x != nil {
			return x
		}
	}
	return nil
}

func noResource(arn string) error {
	return value("The specified resource name does not match an RDS resource in this region: %s", arn)
}

func addTags(tx *account.Tx, r *wire.Request) (any, error) {
	x := tagged(tx, r.String("ResourceName"))
	if x == nil {
		return nil, noResource(r.String("ResourceName"))
	}
	if x.Tags == nil {
		x.Tags = map[string]string{}
	}
	maps.Copy(x.Tags, r.Tags("Tags"))
	return nil, nil
}

func removeTags(tx *account.Tx, r *wire.Request) (any, error) {
	x := tagged(tx, r.String("ResourceName"))
	if x == nil {
		return nil, noResource(r.String("ResourceName"))
	}
	for _, k := range r.Strings("TagKeys") {
		delete(x.Tags, k)
	}
	return nil, nil
}
