package deploy

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/architecture"
)

// times is how long CloudFormation typically takes for a resource, in seconds:
// to create, to update, to delete. Types that are left out take about two.
var times = map[string][3]float64{
	"AWS::AutoScaling::AutoScalingGroup":        {62, 60, 2},
	"AWS::CertificateManager::Certificate":      {150, 0, 5},
	"AWS::EC2::EIP":                             {17, 2, 2},
	"AWS::EC2::InternetGateway":                 {17, 2, 3},
	"AWS::EC2::NatGateway":                      {106, 2, 65},
	"AWS::EC2::RouteTable":                      {12, 2, 2},
	"AWS::EC2::SecurityGroup":                   {6, 2, 2},
	"AWS::EC2::Subnet":                          {4, 2, 2},
	"AWS::EC2::TransitGatewayAttachment":        {90, 30, 60},
	"AWS::EC2::VPC":                             {12, 2, 2},
	"AWS::EC2::VPCCidrBlock":                    {12, 2, 2},
	"AWS::EC2::VPCEndpoint":                     {47, 30, 60},
	"AWS::EKS::Addon":                           {15, 15, 7},
	"AWS::EKS::Cluster":                         {600, 285, 205},
	"AWS::EKS::Nodegroup":                       {125, 220, 380},
	"AWS::ElasticLoadBalancingV2::LoadBalancer": {142, 2, 60},
	"AWS::IAM::InstanceProfile":                 {126, 2, 2},
	"AWS::IAM::Role":                            {12, 12, 2},
	"AWS::KMS::Alias":                           {62, 2, 2},
	"AWS::KMS::Key":                             {122, 2, 2},
	"AWS::RDS::DBInstance":                      {420, 171, 285},
	"AWS::Route53::HostedZone":                  {71, 2, 2},
	"AWS::Route53::RecordSet":                   {20, 20, 20},
	"AWS::S3::Bucket":                           {30, 10, 10},
}

// multiAZ is the time to create PostgreSQL in two zones.
const multiAZ = 800

// overhead is what CloudFormation takes for a stack and a change set beyond
// its resources.
const overhead = 20 * time.Second

// readingTime is how long CloudFormation takes to look at resources as they
// are, before it can revert drift. AWS says only that it depends on their
// number.
func readingTime(resources int) time.Duration {
	return 5*time.Second + time.Duration(resources)*time.Second/2
}

// operation says which of a type's times is meant.
type operation int

const (
	toCreate operation = iota
	toUpdate
	toDelete
)

func resourceTime(typ string, props map[string]any, op operation) time.Duration {
	s := 2.0
	if t, ok := times[typ]; ok {
		s = t[op]
	}
	if typ == "AWS::RDS::DBInstance" && op == toCreate && props["MultiAZ"] == true {
		s = multiAZ
	}
	return time.Duration(s * float64(time.Second))
}

// createTime predicts how long a stack takes to create: the longest path
// through its resources.
func createTime(body []byte) time.Duration { return stackTime(body, toCreate) }

// deleteTime predicts how long a stack takes to delete.
func deleteTime(body []byte) time.Duration { return stackTime(body, toDelete) }

func stackTime(body []byte, op operation) time.Duration {
	var doc struct {
		Resources map[string]struct {
			Type       string
			Properties map[string]any
			DependsOn  any
		}
	}
	if json.Unmarshal(body, &doc) != nil {
		return overhead
	}
	needs := map[string][]string{}
	for id, r := range doc.Resources {
		set := map[string]bool{}
		references(r.Properties, set)
		switch d := r.DependsOn.(type) {
		case string:
			set[d] = true
		case []any:
			for _, x := range d {
				if s, ok := x.(string); ok {
					set[s] = true
				}
			}
		}
		for ref := range set {
			if _, ok := doc.Resources[ref]; ok && ref != id {
				needs[id] = append(needs[id], ref)
			}
		}
	}
	path := longest(slices.Sorted(maps.Keys(doc.Resources)), func(id string) []string { return needs[id] }, func(id string) time.Duration {
		return resourceTime(doc.Resources[id].Type, doc.Resources[id].Properties, op)
	})
	var total time.Duration
	for _, id := range path {
		total += resourceTime(doc.Resources[id].Type, doc.Resources[id].Properties, op)
	}
	return overhead + total
}

var inSub = regexp.MustCompile(`\$\{([A-Za-z0-9]+)`)

// references collects the logical ids that a value refers to.
func references(v any, into map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			references(x, into)
		}
	case map[string]any:
		for k, x := range v {
			switch s, _ := x.(string); {
			case k == "Ref":
				into[s] = true
			case k == "Fn::GetAtt" && s != "":
				id, _, _ := strings.Cut(s, ".")
				into[id] = true
			case k == "Fn::Sub" && s != "":
				for _, m := range inSub.FindAllStringSubmatch(s, -1) {
					into[m[1]] = true
				}
			}
			if l, ok := x.([]any); ok && len(l) > 0 && (k == "Fn::GetAtt" || k == "Fn::Sub") {
				if s, ok := l[0].(string); ok && k == "Fn::GetAtt" {
					into[s] = true
				} else {
					for _, m := range inSub.FindAllStringSubmatch(s, -1) {
						into[m[1]] = true
					}
				}
			}
			references(x, into)
		}
	}
}

// longest returns the longest path through a graph without cycles, first step
// first: of names, given what each one needs and how long each one takes.
func longest[N comparable](names []N, needs func(N) []N, takes func(N) time.Duration) []N {
	end := map[N]time.Duration{}
	via := map[N]N{}
	var visit func(N) time.Duration
	visit = func(n N) time.Duration {
		if t, ok := end[n]; ok {
			return t
		}
		end[n] = 0 // a cycle, which CloudFormation refuses, ends here
		var start time.Duration
		for _, d := range needs(n) {
			if t := visit(d); t > start {
				start, via[n] = t, d
			}
		}
		end[n] = start + takes(n)
		return end[n]
	}
	var last N
	var most time.Duration = -1
	for _, n := range names {
		if t := visit(n); t > most {
			last, most = n, t
		}
	}
	if len(names) == 0 {
		return nil
	}
	path := []N{last}
	for {
		d, ok := via[path[len(path)-1]]
		if !ok {
			break
		}
		path = append(path, d)
	}
	slices.Reverse(path)
	return path
}

// PathStep is a stack on the critical path.
type PathStep struct {
	Stack architecture.StackName `json:"stack"`
	Takes time.Duration          `json:"takesNanoseconds"`
}

// criticalPath is the chain of stacks that decides how long a run takes.
func criticalPath(names []architecture.StackName, before func(architecture.StackName) []architecture.StackName, takes map[architecture.StackName]time.Duration) ([]PathStep, time.Duration) {
	there := func(n architecture.StackName) []architecture.StackName {
		return slices.DeleteFunc(slices.Clone(before(n)), func(b architecture.StackName) bool { return !slices.Contains(names, b) })
	}
	var steps []PathStep
	var total time.Duration
	for _, n := range longest(names, there, func(n architecture.StackName) time.Duration { return takes[n] }) {
		steps = append(steps, PathStep{n, takes[n]})
		total += takes[n]
	}
	return steps, total
}
