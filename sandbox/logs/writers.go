package logs

import (
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// Services that write to a group make it again when it is gone.
const written = "logs:written"

// FlowLogGone is the journal's kind of note on flow logs that are gone: their
// last records come some minutes later.
const FlowLogGone = "logs:flow-log-gone"

// late is how long records of a flow log are under way at most.
// https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html
const late = 10 * time.Minute

// Events are what happens to log groups by themselves.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){written: func(tx *account.Tx, e account.Event) {
		owner := writer(tx, e.ID)
		if owner == "" || tx.Get(TypeLogGroup, e.ID) != nil {
			return
		}
		// A quota can refuse it; nobody is told.
		_, _, _ = tx.Create(TypeLogGroup, map[string]any{"LogGroupName": e.ID}, owner, true)
	}}
}

// comeBack lets a group that is gone be made again by who still writes to it:
// without its retention and key.
func comeBack(tx *account.Tx, name string) {
	if writer(tx, name) != "" {
		tx.After(tx.Latency("logs:group/written", name), account.Event{Kind: written, ID: name})
	}
}

// writer is the service that writes to a group now and may make it, "" if none.
func writer(tx *account.Tx, name string) string {
	if rest, ok := strings.CutPrefix(name, "/aws/eks/"); ok {
		cluster, kind, _ := strings.Cut(rest, "/")
		// https://docs.aws.amazon.com/eks/latest/userguide/control-plane-logs.html
		if c := tx.Get("AWS::EKS::Cluster", cluster); c != nil && kind == "cluster" && len(props.List(c.Props, "Logging", "ClusterLogging", "EnabledTypes")) > 0 {
			return "eks.amazonaws.com"
		}
	}
	if rest, ok := strings.CutPrefix(name, "/aws/rds/instance/"); ok {
		instance, kind, _ := strings.Cut(rest, "/")
		// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_LogAccess.Procedural.UploadtoCloudWatch.html
		if i := tx.Get("AWS::RDS::DBInstance", instance); i != nil && slices.Contains(props.Strs(i.Props, "EnableCloudwatchLogsExports"), kind) {
			return "rds.amazonaws.com"
		}
	}
	for _, f := range tx.List("AWS::EC2::FlowLog") {
		if f.Data["destination"] == arn(tx, name) && mayCreate(tx, props.Str(f.Props, "DeliverLogsPermissionArn"), name) {
			return "vpc-flow-logs.amazonaws.com"
		}
	}
	for _, e := range slices.Backward(tx.Noted(FlowLogGone)) {
		if tx.Now().Sub(e.At) > late {
			break
		}
		if props.Str(e.Data, "destination") == arn(tx, name) && mayCreate(tx, props.Str(e.Data, "role"), name) {
			return "vpc-flow-logs.amazonaws.com"
		}
	}
	return ""
}

// mayCreate tells whether a role's own policies let it make the group.
func mayCreate(tx *account.Tx, role, name string) bool {
	r := iam.RoleByARN(tx, role)
	if r == nil {
		return false
	}
	for _, p := range props.Maps(r.Props, "Policies") {
		d, err := policy.Parse(props.Get(p, "PolicyDocument"), policy.Identity)
		if err != nil {
			continue
		}
		for _, s := range d.Statements {
			fits := func(list []string, value string) bool {
				return slices.ContainsFunc(list, func(l string) bool { return policy.Like(strings.ToLower(l), strings.ToLower(value)) })
			}
			if s.Allow && fits(s.Actions, "logs:CreateLogGroup") && (fits(s.Resources, arn(tx, name)) || fits(s.Resources, arn(tx, name)+":*")) {
				return true
			}
		}
	}
	return false
}
