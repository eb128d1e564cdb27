package network

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"
	"github.com/poolhouse/poolhouse/verify/reach"
	"github.com/poolhouse/poolhouse/verify/vpc"
)

func serviceName(l *account.Look, service string) string {
	return "com.amazonaws." + l.Arch.Config.Region + "." + service
}

func endpointS3(l *account.Look, r *check.Recorder) error {
	endpoints, err := l.VPCEndpoints()
	if err != nil {
		return err
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	var gateway types.VpcEndpoint
	for _, e := range endpoints {
		if e.VpcEndpointType == types.VpcEndpointTypeGateway && aws.ToString(e.ServiceName) == serviceName(l, "s3") {
			gateway = e
		}
	}
	if l.Given() {
		return givenS3(l, r, p, gateway)
	}
	if gateway.VpcEndpointId == nil {
		r.Missing("gateway endpoint of S3", "ec2:DescribeVpcEndpoints", check.FixUpdate)
		return nil
	}
	id := *gateway.VpcEndpointId
	for _, s := range p.Tier(architecture.Private) {
		table := aws.ToString(s.Table.RouteTableId)
		ok := strings.EqualFold(string(gateway.State), string(types.StateAvailable)) && slices.Contains(gateway.RouteTableIds, table)
		saw := fmt.Sprintf("%s, in %s", strings.ToLower(string(gateway.State)), table)
		if !slices.Contains(gateway.RouteTableIds, table) {
			saw = fmt.Sprintf("%s, not in %s", strings.ToLower(string(gateway.State)), table)
		}
		r.Saw(ok, id+" for "+s.SubnetID, saw, "ec2:DescribeVpcEndpoints", "available, in the subnet's route table", check.FixUpdate)
	}
	return nil
}

// routeToS3 is the gateway endpoint that a route table has a working route to for
// the prefix list of S3, "" if none.
func routeToS3(t types.RouteTable, list string) string {
	for _, r := range t.Routes {
		if kind, target := vpc.TargetOf(r); kind == reach.ToGatewayEndpoint && aws.ToString(r.DestinationPrefixListId) == list && r.State != types.RouteStateBlackhole {
			return target
		}
	}
	return ""
}

// givenS3 takes the endpoint of a given network, or its way out. Of a shared VPC
// the endpoints can't be described, but the routes to them can.
// https://docs.aws.amazon.com/vpc/latest/userguide/vpc-share-limitations.html
func givenS3(l *account.Look, r *check.Recorder, p *account.Places, gateway types.VpcEndpoint) error {
	for _, s := range p.Tier(architecture.Private) {
		table := aws.ToString(s.Table.RouteTableId)
		if strings.EqualFold(string(gateway.State), string(types.StateAvailable)) && slices.Contains(gateway.RouteTableIds, table) {
			r.Saw(true, *gateway.VpcEndpointId+" for "+s.SubnetID, "available, in "+table, "ec2:DescribeVpcEndpoints", "", "")
			continue
		}
		if gateway.VpcEndpointId == nil {
			list, err := s3List(l)
			if err != nil {
				return err
			}
			if to := routeToS3(s.Table, list); list != "" && to != "" {
				r.Saw(true, to+" for "+s.SubnetID, "a route to it in "+table, "ec2:DescribeRouteTables, DescribePrefixLists", "", "")
				continue
			}
		}
		by, err := leaves(l, s.SubnetID)
		if err != nil {
			return err
		}
		r.Saw(by != "", s.SubnetID, "no gateway endpoint of S3; the way out is "+cmp.Or(by, "not there"), "ec2:DescribeVpcEndpoints, "+reachAPI, "S3's gateway endpoint, or a way out", fixNetwork(l))
	}
	return nil
}

func endpointsPresent(l *account.Look, r *check.Recorder) error {
	if len(l.Arch.Endpoints) == 0 {
		r.NA("network.endpoints lists none, and with NAT none is required")
		return nil
	}
	endpoints, err := l.VPCEndpoints()
	if err != nil {
		return err
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	ours, err := l.OurGroups()
	if err != nil {
		return err
	}
	const api = "ec2:DescribeVpcEndpoints"
	for _, service := range l.Arch.Endpoints {
		i := slices.IndexFunc(endpoints, func(e types.VpcEndpoint) bool {
			return e.VpcEndpointType == types.VpcEndpointTypeInterface && aws.ToString(e.ServiceName) == serviceName(l, service)
		})
		if i < 0 {
			r.Missing("interface endpoint of "+service, api, check.FixUpdate)
			continue
		}
		e := endpoints[i]
		var faults []string
		if !strings.EqualFold(string(e.State), string(types.StateAvailable)) {
			faults = append(faults, "state "+string(e.State))
		}
		if !aws.ToBool(e.PrivateDnsEnabled) {
			faults = append(faults, "private DNS off")
		}
		for _, s := range p.Tier(architecture.Private) {
			if !slices.Contains(e.SubnetIds, s.SubnetID) {
				faults = append(faults, "not in "+s.SubnetID)
			}
		}
		want := aws.ToString(ours["endpoints"].GroupId)
		if len(e.Groups) != 1 || aws.ToString(e.Groups[0].GroupId) != want {
			faults = append(faults, "another security group than "+want)
		}
		saw := service + ": available, private DNS on, in every private subnet"
		if len(faults) > 0 {
			saw = service + ": " + strings.Join(faults, ", ")
		}
		r.Saw(len(faults) == 0, aws.ToString(e.VpcEndpointId), saw, api, "available, private DNS on, in every private subnet, with the endpoints' group", check.FixUpdate)
	}
	return nil
}

func endpointPolicies(l *account.Look, r *check.Recorder) error {
	endpoints, err := l.VPCEndpoints()
	if err != nil {
		return err
	}
	takes, err := policyServices(l)
	if err != nil {
		return err
	}
	if l.Given() {
		endpoints = slices.DeleteFunc(slices.Clone(endpoints), func(e types.VpcEndpoint) bool {
			return account.Tag(e.Tags, architecture.DeploymentTag) != l.Arch.Name()
		})
		if len(endpoints) == 0 {
			r.NA(theirs, "no endpoint in it is the deployment's")
		}
	}
	for _, e := range endpoints {
		service := aws.ToString(e.ServiceName)
		if !takes[service] {
			continue
		}
		open, err := openPolicy(aws.ToString(e.PolicyDocument))
		if err != nil {
			return fmt.Errorf("read the policy of %s: %w", aws.ToString(e.VpcEndpointId), err)
		}
		saw := service + ": a policy of its own"
		if open {
			saw = service + ": everybody may do everything"
		}
		r.Saw(!open, aws.ToString(e.VpcEndpointId), saw, "ec2:DescribeVpcEndpoints", "a policy that names the account", check.FixUpdate)
	}
	return nil
}

// openPolicy tells whether a policy lets everybody do everything with everything,
// as the default policy of endpoints does.
func openPolicy(document string) (bool, error) {
	if text, err := url.QueryUnescape(document); err == nil && strings.HasPrefix(document, "%7B") {
		document = text
	}
	var policy struct{ Statement json.RawMessage }
	if err := json.Unmarshal([]byte(document), &policy); err != nil {
		return false, err
	}
	type statement struct {
		Effect                      string
		Principal, Action, Resource any
		Condition                   map[string]any
	}
	var list []statement
	if err := json.Unmarshal(policy.Statement, &list); err != nil {
		var one statement
		if err := json.Unmarshal(policy.Statement, &one); err != nil {
			return false, err
		}
		list = []statement{one}
	}
	star := func(v any) bool {
		switch v := v.(type) {
		case string:
			return v == "*"
		case []any:
			return slices.Contains(v, any("*"))
		case map[string]any:
			return v["AWS"] == "*"
		}
		return false
	}
	return slices.ContainsFunc(list, func(s statement) bool {
		return s.Effect == "Allow" && star(s.Principal) && star(s.Action) && star(s.Resource) && len(s.Condition) == 0
	}), nil
}
