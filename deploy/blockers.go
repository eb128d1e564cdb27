package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/stack"
)

// stuck are the stacks that a deletion which failed has left: by what in them
// could not be deleted, by what failed before that, or by those that must go
// before them.
func (d *deleting) stuck(ctx context.Context, failed error) ([]Blocker, error) {
	left := map[architecture.StackName]*stack.State{}
	for _, name := range d.going {
		st, err := d.driver.Describe(ctx, d.Architecture.StackName(name))
		if err != nil {
			return nil, err
		}
		if st.Exists() {
			left[name] = st
		}
	}
	var out, waiting []Blocker
	for _, name := range slices.Sorted(maps.Keys(left)) {
		st := left[name]
		found, err := d.stuckAt(ctx, name, st, failed)
		switch {
		case err != nil:
			return nil, err
		case len(found) > 0:
			out = append(out, found...)
		default:
			waiting = append(waiting, d.waiting(name, st, left))
		}
	}
	if len(out) == 0 {
		out = append(out, Blocker{Reason: failed.Error(), Next: d.next(failed)})
	}
	return append(out, waiting...), nil
}

// stuckAt is what a stack is stuck at; nothing if its turn never came.
func (d *deleting) stuckAt(ctx context.Context, name architecture.StackName, st *stack.State, failed error) ([]Blocker, error) {
	itself := Blocker{Type: "AWS::CloudFormation::Stack", ID: st.Name, Stack: name}
	if stack.ConditionOf(st.Status) == stack.Moving {
		itself.Reason, itself.Next = "it is still "+string(st.Status), "poolhouse status FILE shows what goes on; then "+d.next(failed)
		return []Blocker{itself}, nil
	}
	d.mu.Lock()
	own := d.failed[name]
	d.mu.Unlock()
	if own == nil && stack.ConditionOf(st.Status) != stack.Undeleted {
		return nil, nil
	}
	var out []Blocker
	held, err := d.driver.Resources(ctx, st.ID)
	if err != nil {
		return nil, err
	}
	for _, r := range held {
		if r.Status != cfntypes.ResourceStatusDeleteFailed {
			continue
		}
		b := Blocker{Type: r.Type, ID: r.PhysicalID, Stack: name, Reason: cmp.Or(r.Reason, "its deletion failed"), Next: again}
		holder, next := d.holder(ctx, r.Type, r.PhysicalID)
		if b.Holder = holder; next != "" {
			b.Next = next + ", then " + again
		}
		out = append(out, b)
	}
	if len(out) > 0 {
		return out, nil
	}
	itself.Reason, itself.Next = "it is "+string(st.Status), again
	if own != nil {
		itself.Reason, itself.Next = own.Error(), d.next(own)
	}
	return []Blocker{itself}, nil
}

// waiting is a stack whose turn never came, by the stacks that must go before it.
func (d *deleting) waiting(name architecture.StackName, st *stack.State, left map[architecture.StackName]*stack.State) Blocker {
	b := Blocker{Type: "AWS::CloudFormation::Stack", ID: st.Name, Stack: name, Reason: "its turn never came", Next: again}
	var before []string
	for _, n := range reversed(architecture.Catalogue())(name) {
		if left[n] != nil {
			before = append(before, left[n].Name)
		}
	}
	slices.Sort(before)
	if len(before) == 0 {
		b.Reason += ": the deletion ended before it; nothing has to go first any more"
	} else {
		b.Reason += ": others must go before it"
		b.Holder = "stack " + strings.Join(before, ", ")
		b.Next = again + ", which goes on to it when they are gone"
	}
	return b
}

// next is how to go on after a failure: what only takes longer is given longer.
func (d *deleting) next(failed error) string {
	var late *OverdueError
	switch {
	case !errors.As(failed, &late):
		return "mend the cause and " + again
	case late.Stalled:
		return fmt.Sprintf("see what it waited for, and %s, which goes on from here: poolhouse delete FILE --data %s; if it may stand still for longer, with --stall %s", again, d.opts.Data, 2*d.stall)
	}
	return fmt.Sprintf("%s, which goes on from here: poolhouse delete FILE --data %s; if all of it may take longer at once, with --deadline %s", again, d.opts.Data, 2*d.deadline)
}

// unkept are the stacks that were to stay and are not whole: what they hold is not
// kept as it was meant to be until that is mended.
func (d *deleting) unkept(ctx context.Context) ([]Blocker, error) {
	var out []Blocker
	for _, name := range d.staying {
		st, err := d.driver.Describe(ctx, d.owned[name].ID)
		if err != nil {
			return nil, err
		}
		b := Blocker{Type: "AWS::CloudFormation::Stack", ID: d.owned[name].Name, Stack: name, Next: "poolhouse recover FILE shows what it needs"}
		if !st.Exists() {
			b.Reason = "it was to stay, and is gone: a deletion that had begun before took it"
			b.Next = "poolhouse create FILE makes it again; poolhouse status FILE names the data that is left"
			out = append(out, b)
			continue
		}
		switch c := stack.ConditionOf(st.Status); {
		case c == stack.Whole:
			continue
		case c == stack.Moving:
			b.Reason, b.Next = "it is to stay, and is still "+string(st.Status), "poolhouse status FILE shows what goes on; then "+again
		default:
			b.Reason = fmt.Sprintf("it is to stay, and is %s: %s", st.Status, c.Means())
		}
		out = append(out, b)
	}
	return out, nil
}

// letsGo is how a holder is described that goes by itself.
const letsGo = "which its service lets go of"

// holder finds out what holds something, and the command that ends that; both
// are empty if nothing is known to. It is for people only, so a look that fails
// is left out.
func (d *deleting) holder(ctx context.Context, typ, id string) (holder, next string) {
	switch typ {
	case "AWS::EC2::SecurityGroup":
		if holder, next = d.interfaceOf(ctx, filter("group-id", id)); holder == "" {
			return d.referring(ctx, id)
		}
		return holder, next
	case "AWS::EC2::Subnet":
		return d.interfaceOf(ctx, filter("subnet-id", id))
	case "AWS::EC2::VPC", "AWS::EC2::InternetGateway", "AWS::EC2::VPCGatewayAttachment":
		vpc := ""
		if typ == "AWS::EC2::VPC" {
			vpc = id
		}
		if vpc == "" {
			return "", ""
		}
		return d.interfaceOf(ctx, filter("vpc-id", vpc))
	case "AWS::Route53::HostedZone":
		return d.recordsIn(ctx, id)
	case "AWS::CertificateManager::Certificate":
		return d.userOf(ctx, id)
	}
	return "", ""
}

func (d *deleting) interfaceOf(ctx context.Context, where types.Filter) (holder, next string) {
	out, err := d.AWS.EC2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{where}})
	if err != nil {
		return "", ""
	}
	var all []string
	for _, eni := range out.NetworkInterfaces {
		id := aws.ToString(eni.NetworkInterfaceId)
		by, managed := inventory.Attached(eni)
		text, then := id+" ("+by+")", ""
		stays, _ := d.balanced(ctx, by)
		switch name, balancer := strings.CutPrefix(by, "ELB "); {
		case eni.Status == types.NetworkInterfaceStatusAvailable:
			text, then = text+", detached", "aws ec2 delete-network-interface --network-interface-id "+id
		case strings.HasPrefix(by, "instance "):
			then = "aws ec2 terminate-instances --instance-ids " + strings.TrimPrefix(by, "instance ") + ", if nobody needs it"
		case balancer:
			if parts := strings.Split(name, "/"); len(parts) == 3 {
				then = "aws elbv2 describe-load-balancers --names " + parts[1] + " and delete it if it is there"
			} else if len(parts) == 1 { // a classic one
				then = "aws elb delete-load-balancer --load-balancer-name " + name
			}
			if !stays {
				text += ", " + letsGo
			}
		case managed:
			text += ", " + letsGo
		}
		all = append(all, "network interface "+text)
		next = cmp.Or(next, then)
	}
	if len(all) > 3 {
		all = append(all[:3], fmt.Sprintf("%d more", len(all)-3))
	}
	return strings.Join(all, ", "), next
}

// userOf are the users of a certificate. ACM goes on to name a load balancer for
// some minutes after it is gone.
// https://docs.aws.amazon.com/acm/latest/APIReference/API_DeleteCertificate.html
func (d *deleting) userOf(ctx context.Context, id string) (holder, next string) {
	out, err := d.AWS.ACM.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: &id})
	if err != nil {
		return "", ""
	}
	var all []string
	for _, arn := range out.Certificate.InUseBy {
		text := arn
		if _, rest, ok := strings.Cut(arn, ":loadbalancer/"); ok {
			if stays, err := d.balanced(ctx, "ELB "+rest); err == nil && !stays {
				text += ", " + letsGo
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, ", "), ""
}

// referring are the security groups whose rules name one.
func (d *deleting) referring(ctx context.Context, id string) (holder, next string) {
	var all []string
	for f, verb := range map[string]string{"ip-permission.group-id": "ingress", "egress.ip-permission.group-id": "egress"} {
		out, err := d.AWS.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{filter(f, id)}})
		if err != nil {
			return "", ""
		}
		for _, g := range out.SecurityGroups {
			if other := aws.ToString(g.GroupId); other != id {
				all = append(all, fmt.Sprintf("rules of security group %s (%s)", other, aws.ToString(g.GroupName)))
				next = fmt.Sprintf("aws ec2 revoke-security-group-%s --group-id %s for the rules that name %s", verb, other, id)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", "), next
}

// recordsIn are the records of a zone that hold it: all but its own two.
// https://docs.aws.amazon.com/Route53/latest/APIReference/API_DeleteHostedZone.html
func (d *deleting) recordsIn(ctx context.Context, zone string) (holder, next string) {
	sets, err := d.recordSets(ctx, zone)
	if err != nil {
		return "", ""
	}
	var all []string
	for _, s := range sets {
		if s.Type != r53types.RRTypeNs && s.Type != r53types.RRTypeSoa {
			all = append(all, fmt.Sprintf("record %s %s", aws.ToString(s.Name), s.Type))
		}
	}
	if len(all) == 0 {
		return "", ""
	}
	return strings.Join(all, ", "), fmt.Sprintf("aws route53 list-resource-record-sets --hosted-zone-id %s, and delete with aws route53 change-resource-record-sets what nobody needs", zone)
}
