package fault_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/poolhouse/poolhouse/internal/testkit"
)

const shop = `
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.9.0.0/16}}
  One: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.9.0.0/20, AvailabilityZone: us-east-1a}}
  Two: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.9.16.0/20, AvailabilityZone: us-east-1b}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Service: eks.amazonaws.com}, Action: "sts:AssumeRole"}]}
      ManagedPolicyArns: ["arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"]
  Cluster:
    Type: AWS::EKS::Cluster
    Properties: {Name: shop, RoleArn: !GetAtt Role.Arn, ResourcesVpcConfig: {SubnetIds: [!Ref One, !Ref Two]}}
  Subnets:
    Type: AWS::RDS::DBSubnetGroup
    Properties: {DBSubnetGroupDescription: both, SubnetIds: [!Ref One, !Ref Two]}
  Database:
    Type: AWS::RDS::DBInstance
    Properties: {DBInstanceIdentifier: shop, Engine: postgres, DBInstanceClass: db.m7g.large, AllocatedStorage: "50", MasterUsername: keeper, ManageMasterUserPassword: true, DBSubnetGroupName: !Ref Subnets}
`

// While somebody else's operation on a cluster or a database is under way, it
// refuses another one.
//
// https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateClusterConfig.html
// https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html
func TestServicesInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		began := time.Now()
		w := broken(t, `
- {id: cluster, when: {after: 2h}, for: 10m, inFlight: {cluster: "${shop/Cluster}"}}
- {id: database, when: {after: 2h}, for: 10m, inFlight: {database: shop}}
`)
		w.create("shop", shop)
		if got := w.rest("shop"); got != "CREATE_COMPLETE" {
			t.Fatal(got, w.failures("shop"))
		}
		k, d := eks.NewFromConfig(w.cfg), rds.NewFromConfig(w.cfg)
		change := func(cluster, database string) {
			t.Helper()
			_, err := k.UpdateClusterConfig(t.Context(), &eks.UpdateClusterConfigInput{Name: aws.String("shop"), Logging: &ekstypes.Logging{
				ClusterLogging: []ekstypes.LogSetup{{Enabled: aws.Bool(true), Types: []ekstypes.LogType{ekstypes.LogTypeApi}}},
			}})
			if got := testkit.Code(err); got != cluster {
				t.Errorf("a change of the cluster: got %q, want %q", got, cluster)
			}
			_, err = d.ModifyDBInstance(t.Context(), &rds.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String("shop"), BackupRetentionPeriod: aws.Int32(9), ApplyImmediately: aws.Bool(true)})
			if got := testkit.Code(err); got != database {
				t.Errorf("a change of the database: got %q, want %q", got, database)
			}
		}
		time.Sleep(time.Until(began.Add(2*time.Hour + time.Minute)))
		change("ResourceInUseException", "InvalidDBInstanceState")
		w.fired(map[string]int{"cluster": 1, "database": 1})
		time.Sleep(10 * time.Minute)
		change("", "")
	})
}
