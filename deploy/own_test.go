package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/internal/testkit/kubernetes"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	sandboxeks "github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/fault"
)

// sparesForeign has a target deleted until the first stack would go, and fails if
// anything was written to the cluster by then, or if it isn't said that the cluster is
// somebody else's.
func sparesForeign(t *testing.T, w *world, api *kubernetes.API, target deploy.Target) {
	t.Helper()
	enough := errors.New("the stacks' turn has come")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	w.seen = func(e deploy.Event) {
		if s, ok := e.(deploy.StackStarted); ok && s.Action == deploy.DeleteStack {
			cancel(enough)
		}
	}
	api.Before = func(method, path string) int {
		if ctx.Err() == nil {
			t.Errorf("%s %s", method, path)
		}
		return 0
	}
	const foreign = "is not the deployment's, though it has the name"
	if c, err := deploy.LookIntoCluster(t.Context(), target); err == nil || !strings.Contains(err.Error(), foreign) {
		t.Errorf("it shows %+v of a cluster of somebody else's: %v", c, err)
	}
	if _, err := deploy.Delete(ctx, deploy.DeleteOptions{Target: target, Data: deploy.DestroyData}); !errors.Is(err, enough) {
		t.Fatalf("delete: %v", err)
	}
	if !strings.Contains(w.steps(), foreign) {
		t.Errorf("nothing says that the cluster is somebody else's:\n%s", w.steps())
	}
}

// TestL01SparesWhatWasMadeAnew: a cluster or a database that somebody made in place of
// the deployment's is neither changed nor deleted.
func TestL01SparesWhatWasMadeAnew(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"AWS::EKS::Cluster", "AWS::RDS::DBInstance"} {
		t.Run(typ, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := became(t, example(t, "evaluation"), func(c *config.Config) { c.Database.DeletionProtection = true })
				w := newWorld(t, a, sandbox.Options{})
				w.create(a)
				err := w.box.Account().Do(func(tx *account.Tx) error {
					for _, c := range tx.List(typ) {
						c.Props["DeletionProtection"] = false
						c.Tags[architecture.StackIDTag] += "-of-another"
						c.Tags[deploy.Tag] = a.Name() // anybody can give it
						c.Data["key"] = "arn:aws:kms:us-east-1:123456789012:key/theirs"
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				for what, run := range map[string]func() error{
					"create": func() error {
						_, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)})
						return err
					},
					"upgrade": func() error {
						_, err := deploy.Upgrade(t.Context(), deploy.UpgradeOptions{Target: w.target(a), Addons: true})
						return err
					},
					"update": func() error {
						_, err := deploy.Update(t.Context(), deploy.CreateOptions{Target: w.target(a)})
						return err
					},
					"recover": func() error {
						_, err := deploy.Recover(t.Context(), deploy.RecoverOptions{Target: w.target(a)})
						return err
					},
					"delete": func() error {
						_, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.SnapshotData})
						return err
					},
					// Another database is none that was kept.
					"delete keeping the data": func() error {
						_, err := deploy.Delete(t.Context(), deploy.DeleteOptions{Target: w.target(a), Data: deploy.KeepData})
						return err
					},
				} {
					before := testkit.Dump(w.box.Account())
					var refused *deploy.RefusedError
					if err := run(); !errors.As(err, &refused) || !refused.Untouched || len(refused.Refusals) != 1 || !strings.Contains(err.Error(), "is not the one that the stack made") {
						t.Errorf("%s: %v", what, err)
					}
					if after := testkit.Dump(w.box.Account()); !bytes.Equal(after, before) {
						t.Errorf("%s changed something", what)
					}
				}
			})
		})
	}
}

// TestL01SparesAClusterThatHadTheName: a creation failed because somebody had a cluster
// of the name. What is in that is not touched when the deployment is deleted.
func TestL01SparesAClusterThatHadTheName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		api := kubernetes.New(nil)
		w, door := withKubernetes(t, a, listed, api)
		plan, err := fault.Parse("f", []byte(`faults: [{id: taken, fail: {stack: poolside-cluster, resource: Cluster, on: [create], error: InternalFailure}}]`), fault.Known{})
		if err != nil {
			t.Fatal(err)
		}
		w.box.Break(fault.New(plan, fault.Options{}))
		if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)}); err == nil {
			t.Fatal("the cluster's name was not taken")
		}
		target := w.target(a)
		if all := w.find("AWS::EKS::Cluster"); len(all) > 0 {
			t.Fatalf("the creation made cluster %s", all[0].ID)
		}
		w.theirs(target, w.controlPlane())
		api.Put("/api/v1/nodes/one", `{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}`)
		api.Put("/api/v1/namespaces/shop/services/web", `{"spec": {"type": "LoadBalancer"}}`)
		target.Machine = w.from(door, func() sandboxeks.Caller { return sandboxeks.Caller{Internet: netip.MustParseAddr(listed)} })
		sparesForeign(t, w, api, target)
		// Neither does what its controllers make elsewhere belong to the deployment.
		vpc := testkit.MustCreate(t, w.box, "AWS::EC2::VPC", map[string]any{"CidrBlock": "10.9.0.0/16"}).ID
		for _, tag := range []string{"elbv2.k8s.aws/cluster", "cluster.k8s.amazonaws.com/name"} {
			testkit.MustCreate(t, w.box, "AWS::ElasticLoadBalancingV2::TargetGroup", map[string]any{"VpcId": vpc, "Port": 80, "Protocol": "HTTP", "TargetType": "ip", "Tags": awsTags(tag, a.ClusterName())})
			testkit.MustCreate(t, w.box, "AWS::EC2::SecurityGroup", map[string]any{"VpcId": vpc, "GroupDescription": "theirs", "Tags": awsTags(tag, a.ClusterName())})
		}
		v, err := inventory.OfCluster(t.Context(), target.AWS, a)
		if err != nil || len(v.Items) > 0 {
			t.Errorf("theirs is taken for the deployment's: %+v, %v", v, err)
		}
		all, err := inventory.Read(t.Context(), target.AWS, a)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range all.Items {
			if i.Origin == inventory.ByCluster {
				t.Errorf("theirs is taken for the deployment's: %+v", i)
			}
		}
	})
}

// TestL02SparesInterfacesOfAnotherCluster: a creation failed because somebody had a
// cluster of the name, in a network of their own. An interface that its network plugin
// has not attached yet stays when the deployment is deleted.
func TestL02SparesInterfacesOfAnotherCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := example(t, "evaluation")
		w := newWorld(t, a, sandbox.Options{})
		w.breakNext(a, `faults: [{id: taken, fail: {stack: poolside-cluster, resource: Cluster, on: [create], error: InternalFailure}}]`)
		if _, err := deploy.Create(t.Context(), deploy.CreateOptions{Target: w.target(a)}); err == nil {
			t.Fatal("the cluster's name was not taken")
		}
		vpc := testkit.MustCreate(t, w.box, "AWS::EC2::VPC", map[string]any{"CidrBlock": "10.9.0.0/16"}).ID
		var subnets []string
		for i, zone := range []string{"a", "b"} {
			subnets = append(subnets, testkit.MustCreate(t, w.box, "AWS::EC2::Subnet", map[string]any{
				"VpcId": vpc, "CidrBlock": fmt.Sprintf("10.9.%d.0/24", i), "AvailabilityZone": w.box.Region() + zone,
			}).ID)
		}
		w.theirs(w.target(a), subnets)
		eni := testkit.MustCreate(t, w.box, "AWS::EC2::NetworkInterface", map[string]any{
			"SubnetId": subnets[0], "Description": "aws-K8S-i-1", "Tags": awsTags("cluster.k8s.amazonaws.com/name", a.ClusterName()),
		}).ID
		if d := w.destroy(a); d.Outcome != deploy.Clean {
			t.Errorf("the delete ends %s: %+v", d.Outcome, d.Kept)
		}
		if !slices.ContainsFunc(w.find("AWS::EC2::NetworkInterface"), func(r *account.Resource) bool { return r.ID == eni }) || len(w.find("AWS::EKS::Cluster")) != 1 {
			t.Errorf("their interface or cluster is gone:\n%s", w.steps())
		}
	})
}

// controlPlane are the deployment's subnets for the control plane.
func (w *world) controlPlane() (subnets []string) {
	for _, s := range w.find("AWS::EC2::Subnet") {
		if strings.HasPrefix(s.LogicalID, "ControlPlane") {
			subnets = append(subnets, s.ID)
		}
	}
	return subnets
}

// theirs makes a cluster of the deployment's name in subnets, as people do.
func (w *world) theirs(target deploy.Target, subnets []string) {
	w.t.Helper()
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`
	role, err := target.AWS.IAM.CreateRole(w.t.Context(), &iam.CreateRoleInput{RoleName: new("theirs"), AssumeRolePolicyDocument: new(trust)})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := target.AWS.IAM.AttachRolePolicy(w.t.Context(), &iam.AttachRolePolicyInput{RoleName: new("theirs"), PolicyArn: new("arn:aws:iam::aws:policy/AmazonEKSClusterPolicy")}); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(time.Minute) // until EKS knows the role
	name := target.Architecture.ClusterName()
	if _, err := target.AWS.EKS.CreateCluster(w.t.Context(), &eks.CreateClusterInput{
		Name: &name, RoleArn: role.Role.Arn, Version: &target.Architecture.Config.Cluster.Version,
		ResourcesVpcConfig: &ekstypes.VpcConfigRequest{SubnetIds: subnets, EndpointPublicAccess: new(true)},
		AccessConfig:       &ekstypes.CreateAccessConfigRequest{AuthenticationMode: ekstypes.AuthenticationModeApi, BootstrapClusterCreatorAdminPermissions: new(true)},
	}); err != nil {
		w.t.Fatal(err)
	}
	waiter := eks.NewClusterActiveWaiter(target.AWS.EKS)
	if err := waiter.Wait(w.t.Context(), &eks.DescribeClusterInput{Name: &name}, 30*time.Minute); err != nil {
		w.t.Fatal(err)
	}
}
