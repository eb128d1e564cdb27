package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/elbv2"
	"github.com/poolhouse/poolhouse/sandbox/elbv2/classic"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// front is a kind of object that has a load balancer.
type front struct {
	base, plural string
	finalizer    string
	// tags are those of what is made for the object NAMESPACE/NAME.
	tags func(cluster, of string) map[string]string
	make func(tx *account.Tx, f *making) (hostname string, err error)
}

var (
	services = front{
		base: "/api/v1", plural: "services", finalizer: "service.kubernetes.io/load-balancer-cleanup",
		tags: func(cluster, of string) map[string]string {
			return map[string]string{"kubernetes.io/cluster/" + cluster: "owned", "kubernetes.io/service-name": of}
		},
		make: makeClassic,
	}
	ingresses = front{
		base: "/apis/networking.k8s.io/v1", plural: "ingresses", finalizer: "ingress.k8s.aws/resources",
		tags: func(cluster, of string) map[string]string {
			return map[string]string{"elbv2.k8s.aws/cluster": cluster, "ingress.k8s.aws/stack": of}
		},
		make: makeApplication,
	}
)

// making is what a load balancer is made of.
type making struct {
	name, vpc string
	of        string // NAMESPACE/NAME
	tags      map[string]string
	subnets   []any
}

// balance makes load balancers for objects, and removes those of objects that go.
func (o Options) balance(ctx context.Context, f front) error {
	list, err := o.list(ctx, f.base+"/"+f.plural)
	if err != nil {
		return err
	}
	var errs []error
	for i := range list {
		one := &list[i]
		m := one.Metadata
		path := fmt.Sprintf("%s/namespaces/%s/%s/%s", f.base, m.Namespace, f.plural, m.Name)
		tags := f.tags(o.Cluster, m.Namespace+"/"+m.Name)
		// A Service that has become one of another type has none any more.
		unwanted := one.going() || f.plural == services.plural && one.Spec.Type != "LoadBalancer"
		switch {
		case unwanted && !one.has(f.finalizer):
		case unwanted:
			gone, err := o.remove(tags)
			if err == nil && gone {
				err = o.patch(ctx, path, &one.head, map[string]any{"metadata": map[string]any{"finalizers": one.without(f.finalizer)}})
			}
			errs = append(errs, err)
		case !one.has(f.finalizer):
			// First the finalizer, so that nothing is made that nobody removes.
			errs = append(errs, o.patch(ctx, path, &one.head, map[string]any{"metadata": map[string]any{"finalizers": one.with(f.finalizer)}}))
		case len(one.Status.LoadBalancer.Ingress) == 0:
			host, err := o.build(f, one, tags)
			if err == nil {
				err = o.patch(ctx, path+"/status", &one.head, map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": []any{map[string]any{"hostname": host}}}}})
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// build makes the load balancer of an object, in private subnets of the cluster's VPC.
func (o Options) build(f front, one *object, tags map[string]string) (host string, err error) {
	err = o.Account.Do(func(tx *account.Tx) error {
		c := tx.Get(eks.TypeCluster, o.Cluster)
		if c == nil {
			return fmt.Errorf("there is no cluster %s", o.Cluster)
		}
		b := &making{of: one.Metadata.Namespace + "/" + one.Metadata.Name, tags: tags}
		// https://github.com/kubernetes/cloud-provider/blob/master/cloud.go: DefaultLoadBalancerName
		b.name = ("a" + strings.ReplaceAll(one.Metadata.UID, "-", ""))
		b.name = b.name[:min(len(b.name), 32)]
		for _, id := range props.Strs(props.Map(c.Props, "ResourcesVpcConfig"), "SubnetIds") {
			if s := tx.Get(ec2.TypeSubnet, id); s != nil {
				b.vpc = props.Str(s.Props, "VpcId")
			}
		}
		zones := map[string]bool{}
		for _, s := range tx.List(ec2.TypeSubnet) {
			zone := props.Str(s.Attrs, "AvailabilityZone")
			if _, internal := s.Tags["kubernetes.io/role/internal-elb"]; internal && props.Str(s.Props, "VpcId") == b.vpc && !zones[zone] {
				zones[zone] = true
				b.subnets = append(b.subnets, s.ID)
			}
		}
		if len(b.subnets) == 0 {
			return fmt.Errorf("no subnet of %s is tagged kubernetes.io/role/internal-elb", b.vpc)
		}
		host, err = f.make(tx, b)
		return err
	})
	return host, err
}

// find is what an earlier look made of a type, or makes it.
func (b *making) find(tx *account.Tx, typ string, as map[string]any) (*account.Resource, error) {
	for _, r := range tx.List(typ) {
		if bears(r, b.tags) && !strings.EqualFold(r.Status, "deleting") {
			return r, nil
		}
	}
	as["Tags"] = props.Pairs(b.tags)
	r, _, err := tx.Create(typ, as, "", true)
	return r, err
}

func (b *making) group(tx *account.Tx, name, description string) (string, error) {
	g, err := b.find(tx, ec2.TypeSecurityGroup, map[string]any{"VpcId": b.vpc, "GroupName": name, "GroupDescription": description})
	if err != nil {
		return "", err
	}
	return g.ID, nil
}

func makeClassic(tx *account.Tx, b *making) (string, error) {
	group, err := b.group(tx, "k8s-elb-"+b.name, fmt.Sprintf("Security group for Kubernetes ELB %s (%s)", b.name, b.of))
	if err != nil {
		return "", err
	}
	lb, err := b.find(tx, classic.TypeLoadBalancer, map[string]any{
		"LoadBalancerName": b.name, "Scheme": "internal", "Subnets": b.subnets, "SecurityGroups": []any{group},
		"Listeners": []any{map[string]any{"Protocol": "TCP", "LoadBalancerPort": 80, "InstanceProtocol": "TCP", "InstancePort": 31080}},
	})
	if err != nil {
		return "", err
	}
	return props.Str(lb.Attrs, "DNSName"), nil
}

func makeApplication(tx *account.Tx, b *making) (string, error) {
	group, err := b.group(tx, "k8s-"+b.name, "[k8s] Managed SecurityGroup for LoadBalancer")
	if err != nil {
		return "", err
	}
	lb, err := b.find(tx, elbv2.TypeLoadBalancer, map[string]any{
		"Name": b.name, "Type": "application", "Scheme": "internal", "Subnets": b.subnets, "SecurityGroups": []any{group},
	})
	if err != nil {
		return "", err
	}
	target, err := b.find(tx, elbv2.TypeTargetGroup, map[string]any{"Name": b.name, "VpcId": b.vpc, "Port": 80, "Protocol": "HTTP", "TargetType": "ip"})
	if err != nil {
		return "", err
	}
	_, err = b.find(tx, elbv2.TypeListener, map[string]any{
		"LoadBalancerArn": lb.ID, "Port": 80, "Protocol": "HTTP", "DefaultActions": []any{map[string]any{"Type": "forward", "TargetGroupArn": target.ID}},
	})
	return props.Str(lb.Attrs, "DNSName"), err
}

// remove deletes what bears an object's tags, as far as AWS lets it, and tells whether
// nothing is left.
func (o Options) remove(tags map[string]string) (gone bool, err error) {
	gone = true
	for _, typ := range []string{classic.TypeLoadBalancer, elbv2.TypeLoadBalancer, elbv2.TypeTargetGroup, ec2.TypeSecurityGroup} {
		var ids []string
		err := o.Account.Do(func(tx *account.Tx) error {
			tx.Reads()
			for _, r := range tx.List(typ) {
				if bears(r, tags) {
					ids = append(ids, r.ID)
				}
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		for _, id := range ids {
			gone = false
			err := o.Account.Do(func(tx *account.Tx) error {
				r := tx.Get(typ, id)
				if r == nil || strings.EqualFold(r.Status, "deleting") {
					return nil
				}
				_, err := tx.Delete(r, true)
				return err
			})
			// What is still in use goes at another look.
			var refused *account.Error
			if err != nil && !errors.As(err, &refused) {
				return false, err
			}
		}
	}
	return gone, nil
}

func bears(r *account.Resource, tags map[string]string) bool {
	for k, v := range tags {
		if r.Tags[k] != v {
			return false
		}
	}
	return true
}
