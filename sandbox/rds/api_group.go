package rds

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

type zoneXML struct{ Name string }

type subnetXML struct {
	SubnetIdentifier       string
	SubnetAvailabilityZone zoneXML
	SubnetStatus           string
}

type subnetGroupXML struct {
	DBSubnetGroupName, DBSubnetGroupDescription, VpcId, SubnetGroupStatus string
	Subnets                                                               []subnetXML `xml:"Subnets>Subnet"`
	DBSubnetGroupArn                                                      string
}

func subnetGroupOut(tx *account.Tx, g *account.Resource) subnetGroupXML {
	out := subnetGroupXML{
		DBSubnetGroupName: g.ID, DBSubnetGroupDescription: props.Str(g.Props, "DBSubnetGroupDescription"), VpcId: props.Str(g.Data, "vpc"),
		SubnetGroupStatus: g.Status, DBSubnetGroupArn: props.Str(g.Attrs, "DBSubnetGroupArn"),
	}
	for _, id := range props.Strs(g.Props, "SubnetIds") {
		if s, err := ec2.FindSubnet(tx, id); err == nil {
			out.Subnets = append(out.Subnets, subnetXML{id, zoneXML{ec2.ZoneOf(s).Name}, "Active"})
		}
	}
	return out
}

func describeSubnetGroups(tx *account.Tx, r *wire.Request) (any, error) {
	var list []subnetGroupXML
	name := strings.ToLower(r.String("DBSubnetGroupName"))
	for _, g := range tx.List(TypeSubnetGroup) {
		if name == "" || g.ID == name {
			list = append(list, subnetGroupOut(tx, g))
		}
	}
	if name != "" && len(list) == 0 {
		return nil, missing("DBSubnetGroupNotFoundFault", "DB subnet group '%s' does not exist.", name)
	}
	list, next, err := page(r, list)
	return struct {
		Marker         string           `xml:",omitempty"`
		DBSubnetGroups []subnetGroupXML `xml:"DBSubnetGroups>DBSubnetGroup"`
	}{next, list}, err
}

func modifySubnetGroup(tx *account.Tx, r *wire.Request) (any, error) {
	name := strings.ToLower(r.String("DBSubnetGroupName"))
	g := tx.Get(TypeSubnetGroup, name)
	if g == nil {
		return nil, missing("DBSubnetGroupNotFoundFault", "DB subnet group '%s' does not exist.", name)
	}
	next, _ := account.Copy(g.Props).(map[string]any)
	next["SubnetIds"] = props.List(r.Strings("SubnetIds"))
	if r.Has("DBSubnetGroupDescription") {
		next["DBSubnetGroupDescription"] = r.String("DBSubnetGroupDescription")
	}
	if _, err := tx.Update(g, next, false); err != nil {
		return nil, err
	}
	return struct{ DBSubnetGroup subnetGroupXML }{subnetGroupOut(tx, g)}, nil
}

// modifyParameterGroup sets up to 20 parameters.
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBParameterGroup.html
func modifyParameterGroup(tx *account.Tx, r *wire.Request) (any, error) {
	name := strings.ToLower(r.String("DBParameterGroupName"))
	g := tx.Get(TypeParameterGroup, name)
	switch {
	case strings.HasPrefix(name, "default."):
		return nil, account.Errorf("InvalidDBParameterGroupState", "Default parameter groups can't be modified: %s", name)
	case g == nil:
		return nil, missing("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name)
	}
	list := r.Maps("Parameters")
	if len(list) < 1 || len(list) > 20 {
		return nil, value("The parameter Parameters must have between 1 and 20 entries.")
	}
	set := map[string]any{}
	maps.Copy(set, props.Map(g.Props, "Parameters"))
	for _, p := range list {
		name := props.Str(p, "ParameterName")
		if method := props.Str(p, "ApplyMethod"); method == "immediate" && parameters[name].static {
			return nil, combination("cannot use immediate apply method for static parameter")
		}
		set[name] = props.Str(p, "ParameterValue")
	}
	next, _ := account.Copy(g.Props).(map[string]any)
	next["Parameters"] = set
	if _, err := tx.Update(g, next, false); err != nil {
		return nil, err
	}
	return struct{ DBParameterGroupName string }{g.ID}, nil
}

type parameterGroupXML struct {
	DBParameterGroupName, DBParameterGroupFamily, Description, DBParameterGroupArn string
}

func describeParameterGroups(tx *account.Tx, r *wire.Request) (any, error) {
	var list []parameterGroupXML
	name := strings.ToLower(r.String("DBParameterGroupName"))
	for _, m := range slices.Sorted(maps.Keys(minors)) {
		if f := "postgres" + strconv.Itoa(m); name == "" || name == "default."+f {
			list = append(list, parameterGroupXML{"default." + f, f, "Default parameter group for " + f, tx.ARN("rds", "pg:default."+f)})
		}
	}
	for _, g := range tx.List(TypeParameterGroup) {
		if name == "" || g.ID == name {
			list = append(list, parameterGroupXML{g.ID, props.Str(g.Props, "Family"), props.Str(g.Props, "Description"), props.Str(g.Attrs, "DBParameterGroupArn")})
		}
	}
	if len(list) == 0 {
		return nil, missing("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name)
	}
	list, next, err := page(r, list)
	return struct {
		Marker            string              `xml:",omitempty"`
		DBParameterGroups []parameterGroupXML `xml:"DBParameterGroups>DBParameterGroup"`
	}{next, list}, err
}

type parameterXML struct {
	ParameterName     string
	ParameterValue    string `xml:",omitempty"`
	Source, ApplyType string
	AllowedValues     string `xml:",omitempty"`
	IsModifiable      bool
	ApplyMethod       string
}

func describeParameters(tx *account.Tx, r *wire.Request) (any, error) {
	name := strings.ToLower(r.String("DBParameterGroupName"))
	set := map[string]any{}
	if g := tx.Get(TypeParameterGroup, name); g != nil {
		set = props.Map(g.Props, "Parameters")
	} else if !knownFamily(strings.TrimPrefix(name, "default.")) {
		return nil, missing("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name)
	}
	var list []parameterXML
	for _, k := range slices.Sorted(maps.Keys(parameters)) {
		p := parameters[k]
		x := parameterXML{ParameterName: k, ParameterValue: p.value, Source: "engine-default", ApplyType: "dynamic", AllowedValues: p.allowed, IsModifiable: true, ApplyMethod: "immediate"}
		if p.static {
			x.ApplyType, x.ApplyMethod = "static", "pending-reboot"
		}
		if v, ok := set[k]; ok {
			x.ParameterValue, x.Source = props.Str(v), "user"
		}
		if s := r.String("Source"); s == "" || s == x.Source {
			list = append(list, x)
		}
	}
	list, next, err := page(r, list)
	return struct {
		Marker     string         `xml:",omitempty"`
		Parameters []parameterXML `xml:"Parameters>Parameter"`
	}{next, list}, err
}
