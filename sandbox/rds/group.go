package rds

import (
	"slices"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

func subnetGroupType() *account.Type {
	return &account.Type{
		Name: TypeSubnetGroup, Latency: "rds:subnet-group",
		Create: createSubnetGroup,
		Update: updateSubnetGroup,
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if i := using(tx, "DBSubnetGroupName", r.ID); i != nil {
				return account.Errorf("InvalidDBSubnetGroupStateFault", "Cannot delete the subnet group '%s' because at least one database instance: %s is still using it.", r.ID, i.ID)
			}
			return nil
		},
	}
}

// using returns an instance of which a property names a group, or nil.
func using(tx *account.Tx, key, name string) *account.Resource {
	return tx.Find(TypeInstance, func(i *account.Resource) bool { return strings.EqualFold(props.Str(i.Props, key), name) })
}

func createSubnetGroup(tx *account.Tx, r *account.Resource) error {
	name := strings.ToLower(props.Str(r.Props, "DBSubnetGroupName"))
	if name == "" {
		name = strings.ToLower(tx.Name(r, 255))
	}
	if name == "default" {
		return value("The name 'default' is reserved for the default DB subnet group.")
	}
	if tx.Get(TypeSubnetGroup, name) != nil {
		return account.Errorf("DBSubnetGroupAlreadyExists", "The DB subnet group '%s' already exists.", name)
	}
	vpc, err := checkGroupSubnets(tx, props.Strs(r.Props, "SubnetIds"))
	if err != nil {
		return err
	}
	r.ID, r.Status, r.Tags = name, "Complete", props.Tags(r.Props, "Tags")
	r.Attrs = map[string]any{"DBSubnetGroupArn": tx.ARN("rds", "subgrp:"+name)}
	r.Data = map[string]any{"vpc": vpc}
	return nil
}

// checkGroupSubnets wants subnets of one VPC in two zones, and returns the VPC.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_VPC.WorkingWithRDSInstanceinaVPC.html
func checkGroupSubnets(tx *account.Tx, ids []string) (string, error) {
	var vpc string
	var zones []string
	for _, id := range ids {
		s, err := ec2.FindSubnet(tx, id)
		if err != nil {
			return "", account.Errorf("InvalidSubnet", "The requested subnet %s is invalid, or multiple subnets were requested that are not all in a common VPC.", id)
		}
		if vpc != "" && ec2.VPCOf(s) != vpc {
			return "", value("The DB subnet group contains subnets of different VPCs: %s, %s", vpc, ec2.VPCOf(s))
		}
		vpc = ec2.VPCOf(s)
		if z := ec2.ZoneOf(s).Name; !slices.Contains(zones, z) {
			zones = append(zones, z)
		}
	}
	if len(zones) < 2 {
		return "", account.Errorf("DBSubnetGroupDoesNotCoverEnoughAZs", "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: %s. Add subnets to cover at least 2 AZs.", strings.Join(zones, ", "))
	}
	return vpc, nil
}

func updateSubnetGroup(tx *account.Tx, r *account.Resource, next map[string]any) error {
	ids := props.Strs(next, "SubnetIds")
	vpc, err := checkGroupSubnets(tx, ids)
	if err != nil {
		return err
	}
	if vpc != props.Str(r.Data, "vpc") {
		return value("The specified subnets belong to %s, not to the VPC %s of the DB subnet group", vpc, props.Str(r.Data, "vpc"))
	}
	var used []string
	for _, i := range tx.List(TypeInstance) {
		if !strings.EqualFold(props.Str(i.Props, "DBSubnetGroupName"), r.ID) {
			continue
		}
		for _, face := range ec2.InterfacesOf(tx, props.Str(i.Attrs, "DBInstanceArn")) {
			if s := props.Str(face.Props, "SubnetId"); !slices.Contains(ids, s) {
				used = append(used, s)
			}
		}
	}
	if len(used) > 0 {
		return value("Some of the subnets to be deleted are currently in use: %s", strings.Join(used, ", "))
	}
	r.Retag(next, "Tags")
	return nil
}

func parameterGroupType() *account.Type {
	return &account.Type{
		Name: TypeParameterGroup, Latency: "rds:parameter-group",
		Create: createParameterGroup,
		Update: func(tx *account.Tx, r *account.Resource, next map[string]any) error {
			if err := checkParameters(next); err != nil {
				return err
			}
			// Static parameters wait for the next restart of their instances.
			for name := range parameters {
				if !parameters[name].static || props.Str(r.Props, "Parameters", name) == props.Str(next, "Parameters", name) {
					continue
				}
				for _, i := range tx.List(TypeInstance) {
					if props.Str(i.Props, "DBParameterGroupName") == r.ID {
						i.Data["parameters"] = "pending-reboot"
					}
				}
			}
			r.Retag(next, "Tags")
			return nil
		},
		Delete: func(tx *account.Tx, r *account.Resource) error {
			if using(tx, "DBParameterGroupName", r.ID) != nil {
				return account.Errorf("InvalidDBParameterGroupState", "One or more database instances are still members of this parameter group %s, so the group cannot be deleted", r.ID)
			}
			return nil
		},
	}
}

func createParameterGroup(tx *account.Tx, r *account.Resource) error {
	p := r.Props
	name := strings.ToLower(props.Str(p, "DBParameterGroupName"))
	if name == "" {
		name = strings.ToLower(tx.Name(r, 255))
	}
	if !identifier(name) && len(name) <= 63 {
		return value("The parameter DBParameterGroupName is not a valid identifier. Identifiers must begin with a letter; must contain only ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens.")
	}
	if tx.Get(TypeParameterGroup, name) != nil {
		return account.Errorf("DBParameterGroupAlreadyExists", "Parameter group %s already exists", name)
	}
	if f := props.Str(p, "Family"); !knownFamily(f) {
		return value("ParameterGroupFamily %s is not a valid parameter group family", f)
	}
	if err := checkParameters(p); err != nil {
		return err
	}
	r.ID, r.Tags = name, props.Tags(p, "Tags")
	r.Attrs = map[string]any{"DBParameterGroupName": name, "DBParameterGroupArn": tx.ARN("rds", "pg:"+name)}
	return nil
}

func checkParameters(p map[string]any) error {
	for name := range props.Map(p, "Parameters") {
		known, ok := parameters[name]
		if !ok {
			return value("Could not find parameter with name: %s", name)
		}
		if v := props.Str(p, "Parameters", name); !known.admits(v) {
			return value("Invalid parameter value: %s for: %s allowed values are: %s", v, name, known.allowed)
		}
	}
	return nil
}

// checkParameterGroup wants a group that fits the engine version; "" and the
// default group of the family always do.
func checkParameterGroup(tx *account.Tx, name, version string) error {
	if name == "" || name == "default."+family(version) {
		return nil
	}
	g := tx.Get(TypeParameterGroup, strings.ToLower(name))
	if g == nil {
		return missing("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name)
	}
	if f := props.Str(g.Props, "Family"); f != family(version) {
		return combination("The parameter group %s with DBParameterGroupFamily %s can't be used for this instance. Please use a parameter group with DBParameterGroupFamily %s.", name, f, family(version))
	}
	return nil
}
