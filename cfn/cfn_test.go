package cfn_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/poolhouse/poolhouse/cfn"
	"github.com/poolhouse/poolhouse/cfn/autoscaling"
	"github.com/poolhouse/poolhouse/cfn/ec2"
	"github.com/poolhouse/poolhouse/cfn/eks"
	"github.com/poolhouse/poolhouse/cfn/elbv2"
	"github.com/poolhouse/poolhouse/cfn/iam"
	"github.com/poolhouse/poolhouse/cfn/kms"
	"github.com/poolhouse/poolhouse/cfn/logs"
	"github.com/poolhouse/poolhouse/cfn/rds"
	"github.com/poolhouse/poolhouse/cfn/s3"
	"github.com/poolhouse/poolhouse/cfn/ssm"
)

// vpc and key are the smallest valid resources of their kinds.
func vpc() ec2.VPC { return ec2.VPC{CidrBlock: cfn.V("10.0.0.0/16")} }

func key() kms.Key { return kms.Key{EnableKeyRotation: cfn.V(true)} }

func subnet(vpc cfn.Value[string]) ec2.Subnet {
	return ec2.Subnet{VpcId: vpc, CidrBlock: cfn.V("10.0.0.0/20")}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	other := cfn.New("another template")
	foreign := other.Add("Vpc", vpc())
	foreignParam := other.Parameter("P", cfn.Parameter{})
	foreignCond := other.Condition("C", cfn.Equals(foreignParam.Ref(), cfn.V("x")))

	tests := map[string]struct {
		template func(*cfn.Template)
		want     []string
	}{
		"required property": {
			func(t *cfn.Template) { t.Add("Net", ec2.Subnet{CidrBlock: cfn.V("10.0.0.0/20")}) },
			[]string{"Resources.Net.VpcId: required property is missing"},
		},
		"required property in a list of objects": {
			func(t *cfn.Template) {
				t.Add("Asg", autoscaling.AutoScalingGroup{
					MinSize: cfn.V("1"), MaxSize: cfn.V("1"),
					Tags: []autoscaling.TagProperty{{Key: cfn.V("a"), Value: cfn.V("b"), PropagateAtLaunch: cfn.V(true)}, {Key: cfn.V("c")}},
				})
			},
			[]string{
				"Resources.Asg.Tags[1].PropagateAtLaunch: required property is missing",
				"Resources.Asg.Tags[1].Value: required property is missing",
			},
		},
		"enumeration of strings": {
			func(t *cfn.Template) { t.Add("Key", kms.Key{KeyUsage: cfn.V("ENCRYPT")}) },
			[]string{`Resources.Key.KeyUsage: "ENCRYPT" is none of ENCRYPT_DECRYPT, SIGN_VERIFY, GENERATE_VERIFY_MAC, KEY_AGREEMENT`},
		},
		"enumeration of numbers, in a branch": {
			func(t *cfn.Template) {
				p := t.Parameter("P", cfn.Parameter{})
				c := t.Condition("Long", cfn.Equals(p.Ref(), cfn.V("x")))
				t.Add("Log", logs.LogGroup{RetentionInDays: cfn.If(c, cfn.V(365), cfn.V(366))})
			},
			[]string{`Resources.Log.RetentionInDays: "366" is none of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653`},
		},
		"unknown attribute": {
			func(t *cfn.Template) {
				v := t.Add("Vpc", vpc())
				t.Output("Arn", v.Att("Arn"))
			},
			[]string{`Outputs.Arn: AWS::EC2::VPC has no attribute "Arn"`},
		},
		"attribute that is a list": {
			func(t *cfn.Template) {
				v := t.Add("Vpc", vpc())
				t.Output("Blocks", v.Att("CidrBlockAssociations"))
				t.OutputList("Id", v.AttList("VpcId"))
			},
			[]string{
				"Outputs.Blocks: attribute CidrBlockAssociations of AWS::EC2::VPC is a list: use AttList",
				"Outputs.Id: attribute VpcId of AWS::EC2::VPC is no list: use Att",
			},
		},
		"attribute that is an object": {
			func(t *cfn.Template) {
				db := t.Add("Db", rds.DBInstance{})
				t.Output("Host", db.Att("Endpoint"))
			},
			[]string{`Outputs.Host: AWS::RDS::DBInstance has no attribute "Endpoint"`},
		},
		"undeclared resource": {
			func(t *cfn.Template) {
				t.Add("Net", subnet(t.Resource("Vpc").Ref()))
				t.Output("Id", t.Resource("Gone").Att("Arn"))
			},
			[]string{
				"Resources.Net.VpcId: reference to Vpc, which is not declared",
				"Outputs.Id: reference to Gone, which is not declared",
			},
		},
		"zero handle, parameter and condition": {
			func(t *cfn.Template) {
				t.Add("Net", subnet(cfn.Handle{}.Ref()), cfn.Condition(cfn.Cond{}))
				t.Output("P", cfn.Param{}.Ref())
			},
			[]string{
				"Resources.Net.VpcId: reference to nothing: the handle is zero",
				"Resources.Net: condition has no name: declare it with Template.Condition",
				"Outputs.P: reference to nothing: the parameter is zero",
			},
		},
		"things of another template": {
			func(t *cfn.Template) {
				t.Add("Vpc", vpc())
				t.Add("Net", subnet(foreign.Ref()), cfn.Condition(foreignCond), cfn.DependsOn(foreign))
				t.Output("P", foreignParam.Ref())
			},
			[]string{
				"Resources.Net.VpcId: reference to Vpc of another template",
				"Resources.Net.DependsOn: reference to Vpc of another template",
				"Resources.Net: condition C belongs to another template",
				"Outputs.P: reference to the parameter P of another template",
			},
		},
		"Ref to the wrong kind of resource": {
			func(t *cfn.Template) {
				k := t.Add("Key", key())
				t.Add("Net", subnet(k.Ref()))
			},
			[]string{"Resources.Net.VpcId: Ref (KeyId) of AWS::KMS::Key is the wrong kind: want AWS::EC2::SecurityGroup.VpcId or AWS::EC2::Subnet.VpcId or AWS::EC2::VPC.VpcId"},
		},
		"Ref where the ARN is wanted": {
			func(t *cfn.Template) {
				k := t.Add("Key", key())
				t.Add("Log", logs.LogGroup{KmsKeyId: k.Ref()})
			},
			[]string{"Resources.Log.KmsKeyId: Ref (KeyId) of AWS::KMS::Key is the wrong kind: want AWS::KMS::Key.Arn"},
		},
		"attribute of the wrong kind, in a list, deep down": {
			func(t *cfn.Template) {
				v := t.Add("Vpc", vpc())
				s := t.Add("Net", subnet(v.Ref()))
				t.Add("Lt", ec2.LaunchTemplate{LaunchTemplateData: &ec2.LaunchTemplateData{
					NetworkInterfaces: []ec2.LaunchTemplateNetworkInterface{{
						SubnetId: v.Att("CidrBlock"),
						Groups:   cfn.ListOf(v.Att("DefaultSecurityGroup"), s.Ref()),
					}},
				}})
			},
			[]string{
				"Resources.Lt.LaunchTemplateData.NetworkInterfaces[0].Groups[1]: Ref (SubnetId) of AWS::EC2::Subnet is the wrong kind: want AWS::EC2::SecurityGroup.GroupId or AWS::EC2::SecurityGroup.Id or AWS::EC2::VPC.DefaultSecurityGroup or AWS::EKS::Cluster.ClusterSecurityGroupId",
				"Resources.Lt.LaunchTemplateData.NetworkInterfaces[0].SubnetId: CidrBlock of AWS::EC2::VPC is the wrong kind: want AWS::EC2::Subnet.SubnetId",
			},
		},
		"dependency cycle": {
			func(t *cfn.Template) {
				t.Add("A", vpc(), cfn.DependsOn(t.Resource("C")))
				b := t.Add("B", ssm.Parameter{Type: cfn.V("String"), Value: t.Resource("A").Ref()})
				t.Add("C", ssm.Parameter{Type: cfn.V("String"), Value: cfn.Sub("${x}", cfn.Vars{"x": b.Ref()})})
				t.Add("D", ssm.Parameter{Type: cfn.V("String"), Value: b.Ref()})
			},
			[]string{"Resources.A: dependency cycle: A -> C -> B -> A"},
		},
		"self-reference": {
			func(t *cfn.Template) { t.Add("Vpc", vpc(), cfn.DependsOn(t.Resource("Vpc"))) },
			[]string{"Resources.Vpc: dependency cycle: Vpc -> Vpc"},
		},
		"declared twice": {
			func(t *cfn.Template) {
				v := t.Add("Vpc", vpc())
				t.Add("Vpc", vpc())
				p := t.Parameter("P", cfn.Parameter{})
				t.Parameter("P", cfn.Parameter{})
				c := t.Condition("C", cfn.Equals(p.Ref(), cfn.V("x")))
				t.Condition("C", c)
				t.Output("O", v.Ref(), cfn.Condition(c))
				t.Output("O", v.Ref())
			},
			[]string{
				"Resources.Vpc: logical id is declared twice",
				"Parameters.P: parameter is declared twice",
				"Conditions.C: condition is declared twice",
				"Outputs.O: output is declared twice",
			},
		},
		"input against parameter, and string against list": {
			func(t *cfn.Template) {
				t.Parameter("NetworkVpcId", cfn.Parameter{})
				t.Add("Net", subnet(t.Input("network", "VpcId")))
				t.Add("Asg", autoscaling.AutoScalingGroup{MinSize: cfn.V("1"), MaxSize: t.Input("network", "Ids"), VPCZoneIdentifier: t.InputList("network", "Ids")})
			},
			[]string{
				"Parameters.NetworkVpcId: parameter is declared twice",
				"Parameters.NetworkIds: input is used as String and as CommaDelimitedList",
				"Resources.Asg.VPCZoneIdentifier: parameter NetworkIds is no list: use Ref",
			},
		},
		"list parameter as a string": {
			func(t *cfn.Template) {
				p := t.Parameter("Ids", cfn.Parameter{Type: "List<AWS::EC2::Subnet::Id>"})
				t.Add("Net", subnet(p.Ref()))
			},
			[]string{"Resources.Net.VpcId: parameter Ids is a list: use List"},
		},
		"parameter and resource of one name": {
			func(t *cfn.Template) {
				p := t.Parameter("Vpc", cfn.Parameter{})
				t.Add("Vpc", ec2.VPC{CidrBlock: p.Ref()})
			},
			[]string{"Parameters.Vpc: a resource has the same name"},
		},
		"defaults": {
			func(t *cfn.Template) {
				p := t.Parameter("P", cfn.Parameter{Default: cfn.V("c"), AllowedValues: []string{"a", "b"}})
				q := t.Parameter("Q", cfn.Parameter{Default: cfn.Region()})
				t.Add("Vpc", ec2.VPC{CidrBlock: p.Ref(), InstanceTenancy: q.Ref()})
			},
			[]string{
				`Parameters.P: default "c" is none of the allowed values`,
				"Parameters.Q: default is no literal",
			},
		},
		"unused": {
			func(t *cfn.Template) {
				t.Add("Vpc", vpc())
				t.Parameter("P", cfn.Parameter{})
				t.Input("network", "VpcId")
				t.Condition("C", cfn.Equals(cfn.Region(), cfn.V("x")))
			},
			[]string{
				"Parameters.NetworkVpcId: parameter is not used",
				"Parameters.P: parameter is not used",
				"Conditions.C: condition is not used",
			},
		},
		"unnamed condition": {
			func(t *cfn.Template) {
				t.Add("Vpc", ec2.VPC{CidrBlock: cfn.If(cfn.Equals(cfn.Region(), cfn.V("x")), cfn.V("a"), cfn.V("b"))})
			},
			[]string{"Resources.Vpc.CidrBlock: condition has no name: declare it with Template.Condition"},
		},
		"conditions": {
			func(t *cfn.Template) {
				v := t.Add("Vpc", vpc())
				a := t.Condition("A", cfn.Equals(v.Ref(), cfn.V("x")))
				b := t.Condition("B", cfn.And(a))
				t.Output("O", v.Ref(), cfn.Condition(b))
			},
			[]string{
				"Conditions.A: a condition can't refer to the resource Vpc",
				"Conditions.B: Fn::And takes 2 to 10 conditions, not 1",
			},
		},
		"names": {
			func(t *cfn.Template) {
				v := t.Add("my-vpc", vpc())
				t.Add(cfn.LogicalID(strings.Repeat("a", 256)), vpc())
				t.Output("vpc_id", v.Ref())
			},
			[]string{
				"Resources." + strings.Repeat("a", 256) + ": name wants 1 to 255 letters and digits",
				"Resources.my-vpc: name wants 1 to 255 letters and digits",
				"Outputs.vpc_id: name wants 1 to 255 letters and digits",
			},
		},
		"substitution": {
			func(t *cfn.Template) {
				v := t.Add("Vpc", vpc())
				t.Output("A", cfn.Sub("${Vpc.Arn} ${Gone} ${AWS::Zone} ${!Kept} ${Vpc}"))
				t.Output("B", cfn.Sub("${x", cfn.Vars{"y": v.Ref()}))
				t.Output("C", cfn.Sub("${y}", cfn.Vars{"y": {}}))
			},
			[]string{
				`Outputs.A: AWS::EC2::VPC has no attribute "Arn"`,
				"Outputs.A: reference to Gone, which is not declared",
				"Outputs.A: reference to AWS::Zone, which is not declared",
				"Outputs.B: placeholder ${x is not closed",
				"Outputs.B.y: variable is not used or is absent",
				"Outputs.C: reference to y, which is not declared",
				"Outputs.C.y: variable is not used or is absent",
			},
		},
		"values that can't be": {
			func(t *cfn.Template) {
				t.Add("Vpc", ec2.VPC{
					CidrBlock:          cfn.Join("", cfn.V("a"), cfn.Value[string]{}),
					EnableDnsHostnames: cfn.Bool(cfn.V("yes")),
					Ipv4NetmaskLength:  cfn.Int(cfn.V("ten")),
					InstanceTenancy:    cfn.Select(2, cfn.L("a", "b")),
					Tags:               append(cfn.Tags("Name"), cfn.Tags("A", 1)...),
				})
				t.Add("Log", logs.LogGroup{DataProtectionPolicy: map[string]any{"a": cfn.Value[string]{}, "b": []any{uint(1)}}})
			},
			[]string{
				"Resources.Log.DataProtectionPolicy.a: value is absent",
				"Resources.Log.DataProtectionPolicy.b[0]: a property can't hold a uint",
				"Resources.Vpc.CidrBlock[1]: value is absent",
				`Resources.Vpc.EnableDnsHostnames: "yes" is neither true nor false`,
				"Resources.Vpc.InstanceTenancy: Fn::Select index 2 is outside the list",
				`Resources.Vpc.Ipv4NetmaskLength: "ten" is not an integer`,
				"Resources.Vpc.Tags[0].Key: tags want a string key and a value in turn",
				"Resources.Vpc.Tags[0].Value: tags want a string key and a value in turn",
				"Resources.Vpc.Tags[1].Value: a tag can't hold a int",
			},
		},
		"policies": {
			func(t *cfn.Template) {
				t.Add("A", key())
				t.Add("B", kms.Key{KeyPolicy: cfn.Policy{}})
				t.Add("C", kms.Key{KeyPolicy: cfn.Policy{Statement: []cfn.Statement{
					{Action: cfn.L("kms:*"), NotAction: cfn.L("kms:Encrypt"), Resource: cfn.L("*")},
					{Effect: "allow", Action: cfn.L[string](), Resource: cfn.ListOf(t.Resource("A").Att("Name"))},
					{Action: cfn.L("kms:*"), Principal: cfn.Principal{Any: true, AWS: cfn.L("*")}, NotResource: cfn.L("a"), Resource: cfn.L("*")},
				}}})
			},
			[]string{
				"Resources.B.KeyPolicy: policy has no statement",
				"Resources.C.KeyPolicy.Statement[0]: statement wants one of Action and NotAction",
				`Resources.C.KeyPolicy.Statement[1]: effect "allow" is neither Allow nor Deny`,
				"Resources.C.KeyPolicy.Statement[1].Action: list is empty",
				`Resources.C.KeyPolicy.Statement[1].Resource[0]: AWS::KMS::Key has no attribute "Name"`,
				"Resources.C.KeyPolicy.Statement[2]: statement has both Resource and NotResource",
				"Resources.C.KeyPolicy.Statement[2]: Principal names everybody and somebody",
			},
		},
		"options": {
			func(t *cfn.Template) {
				v := t.Add("Vpc", vpc(), cfn.DeletionPolicy(cfn.Snapshot), cfn.UpdateReplacePolicy(cfn.RetainExceptOnCreate), cfn.Description("x"))
				t.Output("O", v.Ref(), cfn.DependsOn(v))
				t.Add("Nil", nil)
				t.Add("Key", key(), cfn.UpdatePolicy(map[string]any{"AutoScalingRollingUpdate": map[string]any{}}))
			},
			[]string{
				"Resources.Vpc: a resource has no description",
				"Outputs.O: an output takes Description and Condition only",
				"Resources.Nil: resource is nil",
				"Resources.Key.UpdatePolicy: AWS::KMS::Key has none",
				`Resources.Vpc.DeletionPolicy: "Snapshot" is not for AWS::EC2::VPC`,
				`Resources.Vpc.UpdateReplacePolicy: "RetainExceptOnCreate" is not for AWS::EC2::VPC`,
			},
		},
		"list in a JSON string": {
			func(t *cfn.Template) {
				t.Add("Role", iam.Role{AssumeRolePolicyDocument: cfn.SubJSON(map[string]any{"a": cfn.Split(",", cfn.Region())})})
			},
			[]string{"Resources.Role.AssumeRolePolicyDocument: a list-valued expression can't stand in a JSON string"},
		},
		"no resource": {
			func(*cfn.Template) {},
			[]string{"Template: template has no resource"},
		},
		"limits of number": {
			func(t *cfn.Template) {
				for i := range 501 {
					t.Add(cfn.LogicalID(fmt.Sprintf("Vpc%d", i)), vpc())
				}
				for i := range 201 {
					p := t.Parameter(fmt.Sprintf("P%d", i), cfn.Parameter{})
					t.Output(fmt.Sprintf("O%d", i), p.Ref())
				}
			},
			[]string{
				"Template: 501 resources are more than CloudFormation's 500",
				"Template: 201 parameters are more than CloudFormation's 200",
				"Template: 201 outputs are more than CloudFormation's 200",
			},
		},
		"limit of size": {
			func(t *cfn.Template) {
				v := t.Add("Vpc", vpc(), cfn.Metadata(map[string]any{"x": strings.Repeat("x", 51_200)}))
				t.Output("O", v.Ref(), cfn.Description(strings.Repeat("d", 1024)))
			},
			[]string{"Template: 52458 bytes are more than the 51200 that can be sent inline"},
		},
		"limit of descriptions": {
			func(t *cfn.Template) {
				v := t.Add("Vpc", vpc())
				t.Output("O", v.Ref(), cfn.Description(strings.Repeat("d", 1025)))
			},
			[]string{"Outputs.O: 1025 bytes of description are more than CloudFormation's 1024"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmpl := cfn.New(name)
			tc.template(tmpl)
			body, err := tmpl.Build()
			if err == nil {
				t.Fatalf("built %s, want faults", body)
			}
			if diff := cmp.Diff(tc.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			var fault *cfn.Fault
			if !errors.As(err, &fault) {
				t.Errorf("error holds no *cfn.Fault")
			}
		})
	}
}

func TestProperties(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		template func(*cfn.Template) cfn.Resource
		want     string
	}{
		"literals": {
			func(*cfn.Template) cfn.Resource {
				return ec2.VPC{CidrBlock: cfn.V("10.0.0.0/16"), EnableDnsHostnames: cfn.V(false), Ipv4NetmaskLength: cfn.V(0)}
			},
			`{"CidrBlock":"10.0.0.0/16","EnableDnsHostnames":false,"Ipv4NetmaskLength":0}`,
		},
		"numbers": {
			func(*cfn.Template) cfn.Resource {
				return eks.Nodegroup{
					ClusterName: cfn.V("c"), NodeRole: cfn.V("r"), Subnets: cfn.L[string](),
					UpdateConfig: &eks.UpdateConfig{MaxUnavailable: cfn.V(1.0)},
					Labels:       map[string]cfn.Value[string]{"b": cfn.Region(), "a": cfn.V("1")},
					Tags:         map[string]string{"Name": "n"},
				}
			},
			`{"ClusterName":"c","Labels":{"a":"1","b":{"Ref":"AWS::Region"}},"NodeRole":"r","Subnets":[],"Tags":{"Name":"n"},"UpdateConfig":{"MaxUnavailable":1}}`,
		},
		"intrinsics": {
			func(t *cfn.Template) cfn.Resource {
				list := t.Parameter("List", cfn.Parameter{Type: "CommaDelimitedList"})
				return ec2.SecurityGroup{
					GroupDescription: cfn.Join("-", cfn.AccountID(), cfn.Partition(), cfn.StackName()),
					GroupName:        cfn.JoinList(",", list.List()),
					VpcId:            cfn.Select(1, cfn.Split("|", cfn.Sub("${AWS::StackId}|x"))),
					Tags:             cfn.Tags("Name", "n", "Zone", cfn.Select(0, cfn.GetAZs())),
				}
			},
			`{"GroupDescription":{"Fn::Join":["-",[{"Ref":"AWS::AccountId"},{"Ref":"AWS::Partition"},{"Ref":"AWS::StackName"}]]},` +
				`"GroupName":{"Fn::Join":[",",{"Ref":"List"}]},` +
				`"Tags":[{"Key":"Name","Value":"n"},{"Key":"Zone","Value":{"Fn::Select":[0,{"Fn::GetAZs":""}]}}],` +
				`"VpcId":{"Fn::Select":[1,{"Fn::Split":["|",{"Fn::Sub":"${AWS::StackId}|x"}]}]}}`,
		},
		"conditions and views": {
			func(t *cfn.Template) cfn.Resource {
				p := t.Parameter("Protect", cfn.Parameter{Default: cfn.V("false")})
				n := t.Parameter("Days", cfn.Parameter{Type: "Number"})
				c := t.Condition("On", cfn.Equals(p.Ref(), cfn.V("true")))
				return rds.DBInstance{
					DeletionProtection:          cfn.Bool(p.Ref()),
					BackupRetentionPeriod:       cfn.Int(n.Ref()),
					MultiAZ:                     cfn.If(c, cfn.V(true), cfn.NoValue[bool]()),
					VPCSecurityGroups:           cfn.If(c, cfn.L("sg-1"), cfn.List[string]{}),
					EnableCloudwatchLogsExports: cfn.ListOf(cfn.V("postgresql"), cfn.If(c, cfn.V("upgrade"), cfn.Value[string]{})),
					Port:                        cfn.String(cfn.V(5432)),
				}
			},
			`{"BackupRetentionPeriod":{"Ref":"Days"},"DeletionProtection":{"Ref":"Protect"},` +
				`"EnableCloudwatchLogsExports":["postgresql",{"Fn::If":["On","upgrade",{"Ref":"AWS::NoValue"}]}],` +
				`"MultiAZ":{"Fn::If":["On",true,{"Ref":"AWS::NoValue"}]},"Port":"5432",` +
				`"VPCSecurityGroups":{"Fn::If":["On",["sg-1"],{"Ref":"AWS::NoValue"}]}}`,
		},
		"substitution": {
			func(t *cfn.Template) cfn.Resource {
				t.Add("Vpc", vpc())
				p := t.Input("cluster", "Issuer")
				return ssm.Parameter{
					Type:        cfn.V("String"),
					Description: cfn.Sub("plain & <simple>"),
					Value:       cfn.Sub("${a}/${Vpc}/${Vpc.CidrBlock}/${ClusterIssuer}/${!b}", cfn.Vars{"a": p}),
				}
			},
			`{"Description":"plain & <simple>","Type":"String","Value":{"Fn::Sub":["${a}/${Vpc}/${Vpc.CidrBlock}/${ClusterIssuer}/${!b}",{"a":{"Ref":"ClusterIssuer"}}]}}`,
		},
		"policy": {
			func(t *cfn.Template) cfn.Resource {
				bucket := t.Add("Bucket", s3.Bucket{})
				return s3.BucketPolicy{Bucket: bucket.Ref(), PolicyDocument: cfn.Policy{Statement: []cfn.Statement{
					{
						Sid: "TlsOnly", Effect: cfn.Deny, Principal: cfn.Principal{Any: true}, Action: cfn.L("s3:*"),
						Resource:  cfn.ListOf(bucket.Att("Arn"), cfn.Sub("${Bucket.Arn}/*")),
						Condition: cfn.Conditions{"Bool": {"aws:SecureTransport": "false"}},
					},
					{
						Principal: cfn.Principal{AWS: cfn.L("a", "b"), Service: cfn.ListOf(cfn.Sub("logs.${AWS::Region}.${AWS::URLSuffix}"))},
						NotAction: cfn.L("s3:Put*", "s3:Get*"), NotResource: cfn.L("x"),
						Condition: cfn.Conditions{"ArnLike": {"aws:SourceArn": []string{"a", "b"}, "x": cfn.ListOf(cfn.Region())}},
					},
				}}}
			},
			`{"Bucket":{"Ref":"Bucket"},"PolicyDocument":{"Statement":[` +
				`{"Action":"s3:*","Condition":{"Bool":{"aws:SecureTransport":"false"}},"Effect":"Deny","Principal":"*","Resource":[{"Fn::GetAtt":["Bucket","Arn"]},{"Fn::Sub":"${Bucket.Arn}/*"}],"Sid":"TlsOnly"},` +
				`{"Condition":{"ArnLike":{"aws:SourceArn":["a","b"],"x":[{"Ref":"AWS::Region"}]}},"Effect":"Allow","NotAction":["s3:Put*","s3:Get*"],"NotResource":"x",` +
				`"Principal":{"AWS":["a","b"],"Service":{"Fn::Sub":"logs.${AWS::Region}.${AWS::URLSuffix}"}}}],"Version":"2012-10-17"}}`,
		},
		"policy as a JSON string": {
			func(t *cfn.Template) cfn.Resource {
				issuer := t.Input("cluster", "OidcIssuer")
				provider := t.Input("cluster", "OidcProviderArn")
				return iam.Role{AssumeRolePolicyDocument: cfn.SubJSON(cfn.Policy{Statement: []cfn.Statement{{
					Principal: cfn.Principal{Federated: cfn.ListOf(provider)},
					Action:    cfn.L("sts:AssumeRoleWithWebIdentity"),
					Condition: cfn.Conditions{"StringEquals": {
						"${Issuer}:aud": cfn.Sub("sts.${AWS::URLSuffix}"),
						"${Issuer}:sub": cfn.Join(":", cfn.V("system"), cfn.StackName()),
					}},
				}}}, cfn.Vars{"Issuer": cfn.Select(1, cfn.Split("//", issuer))})}
			},
			`{"AssumeRolePolicyDocument":{"Fn::Sub":["{\"Statement\":[{\"Action\":\"sts:AssumeRoleWithWebIdentity\",` +
				`\"Condition\":{\"StringEquals\":{\"${Issuer}:aud\":\"sts.${AWS::URLSuffix}\",\"${Issuer}:sub\":\"${Value1}\"}},` +
				`\"Effect\":\"Allow\",\"Principal\":{\"Federated\":\"${ClusterOidcProviderArn}\"}}],\"Version\":\"2012-10-17\"}",` +
				`{"Issuer":{"Fn::Select":[1,{"Fn::Split":["//",{"Ref":"ClusterOidcIssuer"}]}]},"Value1":{"Fn::Join":[":",["system",{"Ref":"AWS::StackName"}]]}}]}}`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmpl := cfn.New(name)
			tmpl.Add("It", tc.template(tmpl))
			body, err := tmpl.Build()
			if err != nil {
				t.Fatal(err)
			}
			var doc struct {
				Resources map[string]struct{ Properties json.RawMessage }
			}
			if err := json.Unmarshal(body, &doc); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(doc.Resources["It"].Properties)); diff != "" {
				t.Errorf("properties (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTemplate shows every section once, in order.
func TestTemplate(t *testing.T) {
	t.Parallel()
	const want = `{"AWSTemplateFormatVersion":"2010-09-09","Description":"all sections",` +
		`"Parameters":{"Mode":{"AllowedPattern":"[a-z]+","AllowedValues":["a","b"],"Default":"a","Description":"how","NoEcho":true,"Type":"String"},` +
		`"NetworkSubnetIds":{"Type":"CommaDelimitedList"},"NetworkVpcId":{"Type":"String"}},` +
		`"Conditions":{"Both":{"Fn::And":[{"Condition":"ModeA"},{"Fn::Not":[{"Fn::Or":[{"Fn::Equals":[{"Ref":"AWS::Region"},"x"]},{"Condition":"ModeA"}]}]}]},"ModeA":{"Fn::Equals":[{"Ref":"Mode"},"a"]}},` +
		`"Resources":{"Balancer":{"Condition":"Both","DeletionPolicy":"RetainExceptOnCreate","DependsOn":["Key"],"Metadata":{"note":{"Ref":"Group"}},` +
		`"Properties":{"SecurityGroups":[{"Fn::GetAtt":["Group","GroupId"]}],"Subnets":{"Ref":"NetworkSubnetIds"}},"Type":"AWS::ElasticLoadBalancingV2::LoadBalancer","UpdateReplacePolicy":"Retain"},` +
		`"Group":{"Properties":{"GroupDescription":"g","VpcId":{"Ref":"NetworkVpcId"}},"Type":"AWS::EC2::SecurityGroup"},` +
		`"Key":{"Type":"AWS::KMS::Key"}},` +
		`"Outputs":{"Arn":{"Condition":"Both","Description":"its ARN","Value":{"Ref":"Balancer"}},"Groups":{"Value":{"Fn::Join":[",",{"Fn::GetAtt":["Balancer","SecurityGroups"]}]}},` +
		`"Ids":{"Value":{"Fn::Sub":"${Key},${Group.GroupId}"}},"Mixed":{"Value":{"Fn::Join":[",",[{"Ref":"Key"},"x"]]}}}}`
	build := func() *cfn.Template {
		tmpl := cfn.New("all sections")
		mode := tmpl.Parameter("Mode", cfn.Parameter{Default: cfn.V("a"), AllowedValues: []string{"a", "b"}, AllowedPattern: "[a-z]+", NoEcho: true, Description: "how"})
		modeA := tmpl.Condition("ModeA", cfn.Equals(mode.Ref(), cfn.V("a")))
		both := tmpl.Condition("Both", cfn.And(modeA, cfn.Not(cfn.Or(cfn.Equals(cfn.Region(), cfn.V("x")), modeA))))
		k := tmpl.Add("Key", kms.Key{})
		group := tmpl.Add("Group", ec2.SecurityGroup{GroupDescription: cfn.V("g"), VpcId: tmpl.Input("network", "VpcId")})
		lb := tmpl.Add("Balancer", elbv2.LoadBalancer{
			Subnets:        tmpl.InputList("network", "SubnetIds"),
			SecurityGroups: cfn.ListOf(group.Att("GroupId")),
		}, cfn.Condition(both), cfn.DependsOn(k, group), cfn.DeletionPolicy(cfn.RetainExceptOnCreate), cfn.UpdateReplacePolicy(cfn.Retain),
			cfn.Metadata(map[string]any{"note": group.Ref()}))
		tmpl.Output("Arn", lb.Ref(), cfn.Condition(both), cfn.Description("its ARN"))
		tmpl.OutputList("Groups", lb.AttList("SecurityGroups"))
		tmpl.OutputList("Ids", cfn.ListOf(k.Ref(), group.Att("GroupId")))
		tmpl.OutputList("Mixed", cfn.ListOf(k.Ref(), cfn.V("x")))
		return tmpl
	}
	tmpl := build()
	own := tmpl.Parameters()
	if len(own) != 1 || own[0].Name != "Mode" || own[0].IsList() {
		t.Errorf("own parameters: %+v, want Mode", own)
	}
	for range 20 { // maps are walked in another order each time
		for _, tmpl := range []*cfn.Template{tmpl, build()} {
			body, err := tmpl.Build()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(body)); diff != "" {
				t.Fatalf("template (-want +got):\n%s", diff)
			}
		}
	}
	if diff := cmp.Diff([]cfn.Input{{"NetworkSubnetIds", "network", "SubnetIds"}, {"NetworkVpcId", "network", "VpcId"}}, tmpl.Inputs()); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]cfn.ResourceType{{"Balancer", "AWS::ElasticLoadBalancingV2::LoadBalancer"}, {"Group", "AWS::EC2::SecurityGroup"}, {"Key", "AWS::KMS::Key"}}, tmpl.Resources()); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Arn", "Groups", "Ids", "Mixed"}, tmpl.Outputs()); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

// TestRightKinds has the references that look odd and are right.
func TestRightKinds(t *testing.T) {
	t.Parallel()
	tmpl := cfn.New("right kinds")
	v := tmpl.Add("Vpc", vpc())
	group := tmpl.Add("Group", ec2.SecurityGroup{GroupDescription: cfn.V("g"), VpcId: v.Att("VpcId")})
	net := tmpl.Add("Net", subnet(v.Ref()))
	role := tmpl.Add("Role", iam.Role{AssumeRolePolicyDocument: "{}"})
	k := tmpl.Add("Key", key())
	cluster := tmpl.Add("Cluster", eks.Cluster{
		RoleArn: role.Att("Arn"),
		ResourcesVpcConfig: &eks.ResourcesVpcConfig{
			SubnetIds:        cfn.ListOf(net.Ref()),
			SecurityGroupIds: cfn.ListOf(group.Ref(), group.Att("GroupId"), group.Att("Id")),
		},
		EncryptionConfig: []eks.EncryptionConfig{{Provider: &eks.Provider{KeyArn: k.Att("Arn")}, Resources: cfn.L("secrets")}},
	})
	tmpl.Add("Rule", ec2.SecurityGroupIngress{GroupId: cluster.Att("ClusterSecurityGroupId"), IpProtocol: cfn.V("tcp"), SourceSecurityGroupId: group.Ref()})
	lb := tmpl.Add("Lb", elbv2.LoadBalancer{Subnets: cfn.ListOf(net.Att("SubnetId"))})
	target := tmpl.Add("Target", elbv2.TargetGroup{VpcId: net.Att("VpcId")})
	tmpl.Add("Listener", elbv2.Listener{LoadBalancerArn: lb.Ref(), DefaultActions: []elbv2.ListenerAction{{Type: cfn.V("forward"), TargetGroupArn: target.Ref()}}})
	tmpl.Add("Db", rds.DBInstance{KmsKeyId: k.Ref()}, cfn.DeletionPolicy(cfn.Snapshot), cfn.UpdateReplacePolicy(cfn.Snapshot))
	tmpl.Add("Asg", autoscaling.AutoScalingGroup{MinSize: cfn.V("1"), MaxSize: cfn.V("1")},
		cfn.UpdatePolicy(map[string]any{"AutoScalingRollingUpdate": map[string]any{"MaxBatchSize": 1}}))
	eip := tmpl.Add("Eip", ec2.EIP{Domain: cfn.V("vpc")})
	tmpl.Add("Nat", ec2.NatGateway{SubnetId: net.Ref(), AllocationId: eip.Att("AllocationId")})
	if _, err := tmpl.Build(); err != nil {
		t.Error(err)
	}
}

func TestLiteral(t *testing.T) {
	t.Parallel()
	if got, ok := cfn.V("x").Literal(); got != "x" || !ok {
		t.Errorf("literal of V: %q, %t", got, ok)
	}
	if got, ok := cfn.Region().Literal(); got != "" || ok {
		t.Errorf("literal of an expression: %q, %t", got, ok)
	}
	if !(cfn.Value[int]{}).IsZero() || cfn.V(0).IsZero() || cfn.L[string]().IsZero() || !(cfn.List[int]{}).IsZero() {
		t.Error("zero means absent, and only zero does")
	}
}

func BenchmarkBuild(b *testing.B) {
	tmpl := cfn.New("benchmark")
	v := tmpl.Add("Vpc", vpc())
	for i := range 120 {
		id := fmt.Sprint(i)
		net := tmpl.Add(cfn.LogicalID("Net"+id), ec2.Subnet{VpcId: v.Ref(), CidrBlock: cfn.V("10.0.0.0/20"), Tags: cfn.Tags("Name", id)})
		tmpl.Add(cfn.LogicalID("Role"+id), iam.Role{AssumeRolePolicyDocument: cfn.Policy{Statement: []cfn.Statement{{
			Principal: cfn.Principal{Service: cfn.L("ec2.amazonaws.com")}, Action: cfn.L("sts:AssumeRole"),
		}}}})
		tmpl.Output("Id"+id, net.Ref())
	}
	body, err := tmpl.Build()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tmpl.Build(); err != nil {
			b.Fatal(err)
		}
	}
}
