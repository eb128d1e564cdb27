package faults_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// lived tells which examples a test goes through: the first, in an ordinary run.
func lived() []string {
	if all := livedToo(); life.Full() || life.Only() != "" {
		return all
	}
	return life.Examples()[:1]
}

// livedToo tells which examples a test goes through that goes through another one
// too in an ordinary run, which the seed draws.
func livedToo() []string {
	all := life.Examples()
	switch {
	case life.Only() != "":
		name, _, _ := strings.Cut(life.Only(), "/")
		return []string{name}
	case life.Full():
		return all
	}
	return []string{all[0], all[1+int(life.Draw(life.Seed(), "example")*float64(len(all)-1))]}
}

// controllers makes what controllers in the cluster would, by the tags that they
// set: a load balancer with a target group and a security group, a pod's volume,
// and what Kubernetes itself makes of a Service without the load balancer
// controller: a classic load balancer, named by a hash, with a security group
// that the nodes' group lets in.
//
// https://docs.aws.amazon.com/eks/latest/userguide/network-load-balancing.html
// https://github.com/kubernetes/cloud-provider-aws/blob/master/pkg/providers/v1/aws.go
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/configurations/
// https://github.com/kubernetes-sigs/aws-ebs-csi-driver/blob/master/docs/tagging.md
func controllers(t *testing.T, a *architecture.Architecture, box *sandbox.Sandbox) {
	t.Helper()
	tags := func(pairs ...string) []any {
		var out []any
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, map[string]any{"Key": pairs[i], "Value": pairs[i+1]})
		}
		return out
	}
	var vpc, zone string
	var subnets []any
	for _, r := range box.Account().Resources() {
		_, internal := r.Tags["kubernetes.io/role/internal-elb"]
		listed := false
		for _, id := range a.Config.Network.Existing.PrivateSubnetIDs {
			listed = listed || id == r.ID
		}
		if r.Type == "AWS::EC2::Subnet" && (internal || listed) && len(subnets) < 2 {
			vpc, _ = r.Props["VpcId"].(string)
			zone, _ = r.Attrs["AvailabilityZone"].(string)
			subnets = append(subnets, r.ID)
		}
	}
	tag := tags("elbv2.k8s.aws/cluster", a.ClusterName())
	group := testkit.MustCreate(t, box, "AWS::EC2::SecurityGroup", map[string]any{"VpcId": vpc, "GroupDescription": "backend", "Tags": tag}).ID
	balancer := testkit.MustCreate(t, box, "AWS::ElasticLoadBalancingV2::LoadBalancer", map[string]any{
		"Type": "application", "Scheme": "internal", "Subnets": subnets, "SecurityGroups": []any{group}, "Tags": tag,
	}).ID
	target := testkit.MustCreate(t, box, "AWS::ElasticLoadBalancingV2::TargetGroup", map[string]any{"VpcId": vpc, "Port": 80, "Protocol": "HTTP", "TargetType": "ip", "Tags": tag}).ID
	testkit.MustCreate(t, box, "AWS::ElasticLoadBalancingV2::Listener", map[string]any{
		"LoadBalancerArn": balancer, "Port": 80, "Protocol": "HTTP", "DefaultActions": []any{map[string]any{"Type": "forward", "TargetGroupArn": target}},
	})
	owned := tags("kubernetes.io/cluster/"+a.ClusterName(), "owned", "kubernetes.io/service-name", "default/web")
	const hash = "a0123456789abcdef0123456789abcde"
	front := testkit.MustCreate(t, box, "AWS::EC2::SecurityGroup", map[string]any{
		"VpcId": vpc, "GroupName": "k8s-elb-" + hash, "GroupDescription": "Security group for Kubernetes ELB " + hash + " (default/web)", "Tags": owned,
	}).ID
	testkit.MustCreate(t, box, "AWS::ElasticLoadBalancing::LoadBalancer", map[string]any{
		"LoadBalancerName": hash, "Scheme": "internal", "Subnets": subnets, "SecurityGroups": []any{front}, "Tags": owned,
		"Listeners": []any{map[string]any{"Protocol": "TCP", "LoadBalancerPort": 80, "InstanceProtocol": "TCP", "InstancePort": 31080}},
	})
	for _, r := range box.Account().Resources() {
		if r.Type == "AWS::EC2::SecurityGroup" && r.Tags["aws:eks:cluster-name"] == a.ClusterName() {
			testkit.MustCreate(t, box, "AWS::EC2::SecurityGroupIngress", map[string]any{"GroupId": r.ID, "IpProtocol": "-1", "SourceSecurityGroupId": front})
		}
	}
	_, err := ec2.NewFromConfig(testkit.Config(box)).CreateVolume(t.Context(), &ec2.CreateVolumeInput{
		AvailabilityZone: &zone, Size: aws.Int32(8), TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeVolume, Tags: []types.Tag{{Key: aws.String(deploy.Tag), Value: aws.String(a.Name())}, {Key: aws.String("CSIVolumeName"), Value: aws.String("pvc-1")}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestL01WhatControllersMade deletes deployments in whose network controllers
// have made load balancers and volumes, while log groups come back that services
// still write to: one delete leaves nothing.
func TestL01WhatControllersMade(t *testing.T) {
	for _, name := range lived() {
		t.Run(name, func(t *testing.T) {
			s := told(t, name)
			at := s.stages[key(life.Delete, "")]
			life.Bubble(t, at.at, func(t *testing.T) {
				box := testkit.Clone(t, at.box, time.Now)
				controllers(t, s.Next, box)
				back := 0
				r := &run{Life: s.Life, verb: life.Delete, box: box, pid: 20, event: func(e deploy.Event) {
					f, ok := e.(deploy.StackFinished)
					if !ok || f.Action != deploy.DeleteStack || f.Err != nil {
						return
					}
					switch f.Stack {
					case architecture.Database:
						testkit.MustCreate(t, box, "AWS::Logs::LogGroup", map[string]any{"LogGroupName": fmt.Sprintf("/aws/rds/instance/%s/postgresql", s.Next.DatabaseName())})
						back++
					case architecture.Cluster:
						testkit.MustCreate(t, box, "AWS::Logs::LogGroup", map[string]any{"LogGroupName": fmt.Sprintf("/aws/eks/%s/cluster", s.Next.ClusterName())})
						back++
					}
				}}
				if err := r.to(t.Context(), ""); err != nil {
					t.Errorf("delete: %v", err)
				}
				if back != 2 {
					t.Errorf("%d log groups came back, want 2", back)
				}
				s.goesOn(t, life.Delete, box)
			})
			if t.Failed() {
				t.Log(life.Repeat(t, "deploy/sweep/faults", name+"/all"))
			}
		})
	}
}
