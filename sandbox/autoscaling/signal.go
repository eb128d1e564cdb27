package autoscaling

import (
	"encoding/base64"
	"regexp"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Signals come from programs inside instances, and nothing runs inside one here.
// In their place an instance signals success once it runs, has had time to boot
// and go through its user data, that has it call cfn-signal for its group, and
// it reaches CloudFormation over the internet. What else user data does is not
// looked at.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/cfn-signal.html

// boot is how long user data takes after an instance runs; AWS documents none.
const boot = time.Minute

// signalPoll is how often a group's operation looks for signals.
const signalPoll = 5 * time.Second

// cfnSignal is a call of cfn-signal, and option one of its options.
var (
	cfnSignal = regexp.MustCompile(`cfn-signal\b([^\n]*)`)
	option    = regexp.MustCompile(`--(stack|resource)[ =]([^\s'"]+)`)
)

// signalled counts the instances of a group that have signalled success.
func signalled(tx *account.Tx, group *account.Resource) int {
	n := 0
	for _, i := range Instances(tx, group) {
		running, ok := i.Data["running"].(time.Time)
		if ok && i.Status == "running" && tx.Now().Sub(running) >= boot && calls(i, group) && reaches(tx, i) {
			n++
		}
	}
	return n
}

// reaches tells whether an instance reaches AWS over the internet: by itself, or
// by its subnet's way out.
func reaches(tx *account.Tx, i *account.Resource) bool {
	eni := tx.Get(ec2.TypeNetworkInterface, props.Str(i.Data, "interface"))
	if eni == nil {
		return false
	}
	subnet, err := ec2.FindSubnet(tx, props.Str(eni.Props, "SubnetId"))
	return err == nil && (ec2.Leaves(tx, eni) || ec2.ReachesInternet(tx, subnet) == "nat")
}

// calls tells whether the user data of an instance signals its group.
func calls(i, group *account.Resource) bool {
	script, err := base64.StdEncoding.DecodeString(props.Str(i.Props, "Template", "UserData"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(group.Owner, ":stack/")
	stack, _, _ := strings.Cut(rest, "/")
	for _, call := range cfnSignal.FindAllStringSubmatch(string(script), -1) {
		given := map[string]string{}
		for _, o := range option.FindAllStringSubmatch(call[1], -1) {
			given[o[1]] = o[2]
		}
		if given["stack"] == stack && given["resource"] == group.LogicalID {
			return true
		}
	}
	return false
}

// awaitSignals holds an operation of a stack until the instances that it launched
// have signalled, or fails it when they took too long. Timeouts are those of the
// policies: five minutes each unless they say otherwise.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-creationpolicy.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
func awaitSignals(tx *account.Tx, r *account.Resource, op string) error {
	want, patience := 0, 5*time.Minute
	rolled := false
	switch policy := props.Map(r.Data, "CreationPolicy", "ResourceSignal"); {
	case op == "create" && policy != nil:
		want = props.Int(policy, 1, "Count")
		if d := pauseTime(props.Str(policy, "Timeout")); d > 0 {
			patience = d
		}
	case op == "update":
		rolling := props.Map(r.Data, "UpdatePolicy", "AutoScalingRollingUpdate")
		_, rolled = r.Data["rolled"]
		if rolled && props.Bool(rolling, false, "WaitOnResourceSignals") {
			want = Desired(r)
			if d := pauseTime(props.Str(rolling, "PauseTime")); d > 0 {
				patience = d
			}
		}
	}
	have := signalled(tx, r)
	if have >= want {
		delete(r.Data, "rolled")
		delete(r.Data, "signalsFrom")
		return nil
	}
	since, ok := r.Data["signalsFrom"].(time.Time)
	if !ok {
		since, r.Data["signalsFrom"] = tx.Now(), tx.Now()
	}
	if tx.Now().Sub(since) < patience {
		return account.Later(signalPoll)
	}
	delete(r.Data, "rolled")
	delete(r.Data, "signalsFrom")
	if rolled {
		return account.Errorf("NotStabilized", "Received %d SUCCESS signal(s) out of %d. Unable to satisfy 100%% MinSuccessfulInstancesPercent requirement", have, want)
	}
	return account.Errorf("NotStabilized", "Failed to receive %d resource signal(s) within the specified duration", want-have)
}
