package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/internal/poll"
	"github.com/poolhouse/poolhouse/inventory"
	"github.com/poolhouse/poolhouse/lease"
)

// monitoringLogGroup is where RDS puts the enhanced monitoring of all the
// databases of an account.
const monitoringLogGroup = "RDSOSMetrics"

// conclude looks at what is left, takes away what no stack has, and says how the
// deletion ended. An error that says nothing about the deployment, such as an
// interrupt, is returned as it is.
func (d *deleting) conclude(ctx context.Context, failed error) (*Deleted, error) {
	if failed != nil && silent(ctx, failed) {
		return d.result(Blocked, nil), failed
	}
	blockers, err := d.remains(ctx, failed == nil)
	if err != nil {
		return d.result(Blocked, nil), errors.Join(failed, err)
	}
	if failed != nil {
		stuck, err := d.stuck(ctx, failed)
		if err != nil {
			return d.result(Blocked, nil), errors.Join(failed, err)
		}
		blockers = append(stuck, blockers...)
	}
	unkept, err := d.unkept(ctx)
	if err != nil {
		return d.result(Blocked, nil), errors.Join(failed, err)
	}
	blockers = append(unkept, blockers...)
	if len(blockers) > 0 {
		return d.result(Blocked, blockers), &BlockedError{Deployment: d.Architecture.Name(), Blockers: blockers, Err: failed}
	}
	outcome := Clean
	if slices.ContainsFunc(d.kept, func(k Kept) bool { return !k.Passing }) {
		outcome = Retained
	}
	return d.result(outcome, nil), nil
}

// silent tells that an error says nothing about the deployment: the run itself
// has ended.
func silent(ctx context.Context, err error) bool {
	var lost *lease.LostError
	return ctx.Err() != nil || errors.As(err, &lost) || awsapi.IsCredentials(err) || awsapi.IsUnreachable(err)
}

func (d *deleting) result(o Outcome, blockers []Blocker) *Deleted {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := slices.Clone(d.kept)
	return &Deleted{Outcome: o, Kept: kept, Costs: d.expand(kept), Blockers: blockers, Took: d.AWS.Clock.Now().Sub(d.start)}
}

// remains takes the last inventory. What is left and no stack has is taken away
// if that is still to be done and can be, is noted if it is to stay, and is a
// blocker otherwise. Services take their time, so it looks again as long as
// something is taken away or let go. When the time is over it looks once more
// and takes nothing away: what should be gone and isn't is a blocker.
func (d *deleting) remains(ctx context.Context, clear bool) ([]Blocker, error) {
	l := &lastLook{deleting: d, clear: clear, whole: clear, since: d.AWS.Clock.Now(), taken: map[[2]string]bool{}}
	w := poll.Wait{For: "what the deletion has left", Next: again}
	err := d.run.until(ctx, "", w, l.look)
	var overdue *OverdueError
	if errors.As(err, &overdue) {
		l.clear = false
		_, _, err = l.look(ctx, 0)
	}
	if err != nil {
		return nil, err
	}
	return l.blockers, nil
}

// lastLook is the last inventory of a deletion, taken again and again.
type lastLook struct {
	*deleting
	// clear tells to take away what can go; whole, that all stacks went.
	clear, whole bool
	blockers     []Blocker
	seen         string // what they were
	since        time.Time
	taken        map[[2]string]bool
}

func (l *lastLook) look(ctx context.Context, _ time.Duration) (over bool, seen string, err error) {
	v, err := inventory.Read(ctx, l.AWS, l.Architecture)
	if err != nil {
		return false, "", err
	}
	l.blockers, l.deleting.last = nil, v.Items
	moved := false
	// What needs a key is known once nothing else is to be taken away.
	slices.SortStableFunc(v.Items, func(a, b inventory.Item) int { return boolCompare(isKey(a), isKey(b)) })
	for _, i := range v.Items {
		if l.stays(i) && !(l.whole && l.freed(v, i)) || isKey(i) && moved {
			continue
		}
		if i.Stack != "" {
			if i.Type == "AWS::CloudFormation::Stack" && l.whole {
				l.blockers = append(l.blockers, Blocker{Type: i.Type, ID: i.ID, Stack: i.Stack, Reason: "it is there: " + i.State, Next: again})
			}
			continue
		}
		did, err := l.takeAway(ctx, v, i)
		if err != nil {
			return false, "", err
		}
		moved = moved || did
	}
	for _, u := range v.Unknown {
		next := again
		if u.Denied {
			next = "allow what the reason names, and repeat the delete"
		}
		l.blockers = append(l.blockers, Blocker{Reason: fmt.Sprintf("%s can't be looked at: %s", u.What, u.Reason), Next: next})
	}
	now := fmt.Sprint(l.blockers)
	if now != l.seen {
		l.seen, l.since = now, l.AWS.Clock.Now()
	}
	var names []string
	releasing := false
	for _, b := range l.blockers {
		releasing = releasing || strings.Contains(b.Holder, letsGo)
		names = append(names, b.ID+" "+b.Holder)
	}
	over = !l.clear || !moved && (!releasing || l.AWS.Clock.Now().Sub(l.since) > interfaceWait)
	return over, strings.Join(names, ", "), nil
}

// takeAway disposes of an item that no stack has, and tells whether it took it
// away. What stays and was not to is noted as a blocker. An error is one that
// says nothing about the item.
func (l *lastLook) takeAway(ctx context.Context, v *inventory.Inventory, i inventory.Item) (did bool, err error) {
	k := [2]string{i.Type, i.ID}
	back := l.mark()
	did, err = l.dispose(ctx, v, i, l.clear)
	if l.taken[k] {
		back() // to take the same thing away again is no progress
	}
	l.taken[k] = l.taken[k] || did
	var overdue *OverdueError
	var first *firstError
	switch {
	case err == nil || errors.As(err, &overdue):
	case errors.As(err, &first):
		l.blockers = append(l.blockers, Blocker{Type: i.Type, ID: i.ID, Reason: first.reason, Next: first.command + ", then " + again})
		return false, nil
	case silent(ctx, err) || awsapi.Passes(err):
		return false, fmt.Errorf("delete %s %s: %w", i.Type, i.ID, err)
	default:
		l.blockers = append(l.blockers, Blocker{Type: i.Type, ID: i.ID, Reason: err.Error(), Next: again})
		return false, nil
	}
	if !did && !l.stays(i) {
		holder, next := l.holder(ctx, i.Type, i.ID)
		why := "no stack has it"
		if i.Why != "" {
			why += ": " + i.Why
		}
		l.blockers = append(l.blockers, Blocker{Type: i.Type, ID: i.ID, Reason: why, Holder: holder, Next: cmp.Or(next, l.onward(i))})
	}
	return did, nil
}

func isKey(i inventory.Item) bool { return i.Type == "AWS::KMS::Key" }

// again is the next step when nothing else is to be done first.
const again = "repeat the delete"

// stays tells that an item is known to stay, or goes with what does.
func (d *deleting) stays(i inventory.Item) bool {
	if i.Part || d.isKept(i.Type, i.ID) {
		return true
	}
	if i.Stack != "" {
		// One that is not in the catalogue is not this deployment's.
		_, known := d.names[d.Architecture.StackName(i.Stack)]
		return !known || d.isKept("AWS::CloudFormation::Stack", d.Architecture.StackName(i.Stack))
	}
	// What lies in a network that stays is its owner's, or the database's.
	return i.Origin == inventory.ByVPC && d.isKept("AWS::CloudFormation::Stack", d.Architecture.StackName(architecture.Network))
}

// onward is the next step for an item that is left: what a deletion takes away
// once it has deleted the stacks, nobody has to.
func (l *lastLook) onward(i inventory.Item) string {
	if l.opts.Data == DestroyData && !l.whole && i.Own() && i.Data {
		return again + ", which takes it away once the stacks are gone"
	}
	return removal(i)
}

// dispose takes an item away that no stack has, or notes why it stays. It tells
// whether it took it away.
func (d *deleting) dispose(ctx context.Context, v *inventory.Inventory, i inventory.Item, clear bool) (did bool, err error) {
	if !i.Own() && slices.Contains(nameable, i.Type) {
		ours, err := d.rewritten(ctx, i)
		if err != nil {
			return false, err
		}
		if !ours {
			d.keepForeign(i)
			return false, nil
		}
	}
	destroy := d.opts.Data == DestroyData && clear
	switch i.Type {
	case "AWS::KMS::Key":
		if err := d.disposeKey(ctx, v, i, destroy); err != nil || d.isKept(i.Type, i.ID) {
			return false, err
		}
	case "AWS::EC2::Snapshot", "AWS::EC2::Volume", "AWS::RDS::DBInstanceAutomatedBackup":
		if destroy {
			return d.deleteData(ctx, i)
		}
	case "AWS::S3::Bucket", "AWS::ECR::Repository", "AWS::RDS::DBInstance", "AWS::Backup::BackupVault":
		if clear {
			return d.disposeLeft(ctx, i)
		}
	case "AWS::KMS::Alias":
		if destroy {
			_, err := d.AWS.KMS.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: &i.ID})
			return true, absent(err)
		}
	case "AWS::Logs::LogGroup":
		// A database that stays goes on writing.
		if clear && d.opts.Data != KeepData {
			if err := d.deleteLogGroup(ctx, i.ID); err != nil {
				return false, err
			}
			d.step("", "deleted log group %s, which a service wrote after its stack had gone", i.ID)
			return true, nil
		}
	case "AWS::SSM::Parameter":
		// What holds nothing of its own goes, whatever becomes of the data.
		if clear && i.Own() {
			if _, err := d.AWS.SSM.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: &i.ID}); absent(err) != nil {
				return false, err
			}
			d.step("", "deleted parameter %s: %s", i.ID, i.Why)
			return true, nil
		}
	case "AWS::CertificateManager::Certificate":
		if clear {
			if user, err := d.deleteFormer(ctx, i.ID, d.keep); err != nil || user == "" {
				return true, err
			}
		}
	case inventory.ClassicLoadBalancer, "AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::ElasticLoadBalancingV2::TargetGroup", "AWS::EC2::NetworkInterface", "AWS::EC2::SecurityGroup":
		if clear && i.Origin == inventory.ByCluster {
			return d.sweepOne(ctx, i)
		}
	case "AWS::SecretsManager::Secret":
		if i.State != "" {
			d.keep(Kept{
				Type: i.Type, ID: i.ID, ARN: i.ARN, Passing: true, Why: "its deletion is scheduled, and it costs nothing meanwhile",
				Restore: []string{"aws secretsmanager restore-secret --secret-id " + i.ID},
				Remove:  []string{"aws secretsmanager delete-secret --force-delete-without-recovery --secret-id " + i.ID},
			})
			return false, nil
		}
	}
	d.keepItem(i)
	return false, nil
}

// removals are the commands that take things away, by type, for the id.
var removals = map[string]string{
	"AWS::CertificateManager::Certificate":      "aws acm delete-certificate --certificate-arn %s",
	"AWS::Backup::BackupVault":                  "aws backup delete-backup-vault --backup-vault-name %s",
	"AWS::EC2::NetworkInterface":                "aws ec2 delete-network-interface --network-interface-id %s",
	"AWS::EC2::SecurityGroup":                   "aws ec2 delete-security-group --group-id %s",
	"AWS::EC2::Snapshot":                        "aws ec2 delete-snapshot --snapshot-id %s",
	"AWS::EC2::VPC":                             "aws ec2 delete-vpc --vpc-id %s",
	"AWS::EC2::VPCEndpoint":                     "aws ec2 delete-vpc-endpoints --vpc-endpoint-ids %s",
	"AWS::EC2::Volume":                          "aws ec2 delete-volume --volume-id %s",
	"AWS::ECR::Repository":                      "aws ecr delete-repository --force --repository-name %s",
	"AWS::EKS::Cluster":                         "aws eks delete-cluster --name %s",
	inventory.ClassicLoadBalancer:               "aws elb delete-load-balancer --load-balancer-name %s",
	"AWS::ElasticLoadBalancingV2::LoadBalancer": "aws elbv2 delete-load-balancer --load-balancer-arn %s",
	"AWS::ElasticLoadBalancingV2::TargetGroup":  "aws elbv2 delete-target-group --target-group-arn %s",
	"AWS::IAM::Role":                            "aws iam delete-role --role-name %s",
	"AWS::KMS::Alias":                           "aws kms delete-alias --alias-name %s",
	"AWS::KMS::Key":                             "aws kms schedule-key-deletion --pending-window-in-days 7 --key-id %s",
	"AWS::Logs::LogGroup":                       "aws logs delete-log-group --log-group-name %s",
	"AWS::RDS::DBInstance":                      "aws rds delete-db-instance --db-instance-identifier %[1]s --final-db-snapshot-identifier %[1]s-last",
	"AWS::RDS::DBInstanceAutomatedBackup":       "aws rds delete-db-instance-automated-backup --dbi-resource-id %s",
	"AWS::RDS::DBSnapshot":                      "aws rds delete-db-snapshot --db-snapshot-identifier %s",
	"AWS::S3::Bucket":                           "aws s3 rb --force s3://%s",
	"AWS::SSM::Parameter":                       "aws ssm delete-parameter --name %s",
	"AWS::SecretsManager::Secret":               "aws secretsmanager delete-secret --secret-id %s",
}

// removal is the command that takes an item away.
func removal(i inventory.Item) string {
	if i.Type == "AWS::EC2::EIP" { // its reason is the allocation
		return "aws ec2 release-address --allocation-id " + i.Why
	}
	if f, ok := removals[i.Type]; ok {
		return fmt.Sprintf(f, i.ID)
	}
	return again
}

// noteShared lists what the deployment shared with others.
func (d *deleting) noteShared(ctx context.Context) error {
	if d.opts.Data != DestroyData {
		return nil
	}
	out, err := d.AWS.Logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String(monitoringLogGroup)})
	if err != nil {
		return fmt.Errorf("look for log group %s: %w", monitoringLogGroup, err)
	}
	if len(out.LogGroups) > 0 {
		d.keep(Kept{
			Type: "AWS::Logs::LogGroup", ID: monitoringLogGroup, Passing: true,
			Why:    "RDS shares it between all databases of the account; delete it when there is none",
			Remove: []string{"aws logs delete-log-group --log-group-name " + monitoringLogGroup},
		})
	}
	return nil
}
