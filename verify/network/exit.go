package network

import (
	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/egress"
	"github.com/poolhouse/poolhouse/verify/account"
	"github.com/poolhouse/poolhouse/verify/check"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// natProved asks in the private subnets whether their way out works. Evidence
// says whether that was probed, or analysed because nobody could be asked.
func natProved(l *account.Look, r *check.Recorder) error {
	if l.Given() {
		r.NA(theirs, "it brings its own way out")
		return nil
	}
	if l.Arch.Config.Network.NAT.Mode == config.NATNone {
		r.NA("network.nat.mode is none: there is no NAT")
		return nil
	}
	id, err := l.VPCID()
	if err != nil {
		return err
	}
	p, err := l.Places()
	if err != nil {
		return err
	}
	o := egress.Options{EC2: l.AWS.EC2, SSM: l.AWS.SSM, VPC: id}
	for _, s := range p.Tier(architecture.Private) {
		o.Subnets = append(o.Subnets, egress.Subnet{ID: s.SubnetID, Zone: aws.ToString(s.EC2.AvailabilityZone)})
	}
	exits, err := egress.Ask(l.Ctx, o)
	if err != nil {
		return err
	}
	for _, x := range exits {
		if x.Proof == egress.Closed {
			continue // private-egress says so
		}
		r.Saw(x.Open(), x.Subnet, string(x.Proof)+": "+x.Evidence, "ec2:DescribeRouteTables, ssm:DescribeInstanceInformation", "an agent heard by way of NAT, or a way that leads out",
			"look at the NAT of "+x.Zone+": its state, its group's activities, its security group; then "+check.FixUpdate)
	}
	if r.Empty() {
		r.NA("no private subnet has a way out to prove, which private-egress reports")
	}
	return nil
}
