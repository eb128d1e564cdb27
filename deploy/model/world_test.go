package model_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/clock"
	"github.com/poolhouse/poolhouse/internal/rehearse"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/fault"
	"github.com/poolhouse/poolhouse/verify"
)

// world is an account, and who works in it.
type world struct {
	t     *testing.T
	r     *rand.Rand
	first *architecture.Architecture
	box   *sandbox.Sandbox
	start []byte // the account as it was found
	pid   int    // of the last command
	dead  atomic.Bool
	timer *time.Timer // of the next death
	data  deploy.Data
	said  []string // what was done
	// files are the files that configurations were made of, and given what they
	// presuppose, which stays.
	files map[*architecture.Architecture]file
	given map[string]bool
}

func newWorld(t *testing.T, name string, r *rand.Rand) *world {
	t.Helper()
	l := life.Of(t, name)
	f := read(t, name).explained()
	var err error
	if l.First, err = f.means(); err != nil {
		t.Fatal(err)
	}
	l.Next = l.First
	w := &world{t: t, r: r, data: deploy.DestroyData, first: l.First, files: map[*architecture.Architecture]file{l.First: f}, given: map[string]bool{"AWS::Logs::LogGroup RDSOSMetrics": true}} // the region's
	// Who changes the way out of three zones has asked for more addresses before.
	more := account.World{Quotas: map[string]int{"L-0263D0A3": 8}}
	w.box, w.start = l.Given(t, sandbox.Options{Seed: r.Uint64(), World: more})
	return w
}

// RoundTrip carries the calls of the living.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.dead.Load() {
		return nil, errKilled
	}
	return testkit.Transport{Handler: w.box}.RoundTrip(r)
}

var errKilled = errors.New("killed")

// process is who runs the next command; those before are dead.
func (w *world) process() life.Process {
	return life.Process{Box: w.box, Holder: life.Alone(w.pid, ""), Transport: w, Data: w.data, Adjust: func(t *deploy.Target) {
		t.Allow = guard.Allowed{guard.Lower: true, guard.Mixed: true}
	}}
}

// target is a deployment as the process sees it.
func (w *world) target(a *architecture.Architecture) deploy.Target {
	w.t.Helper()
	t, err := w.process().Target(w.t.Context(), a)
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

// run runs a command to its end, or to its death.
func (w *world) run(ctx context.Context, v life.Verb, a *architecture.Architecture) (outcome, error) {
	w.t.Helper()
	w.pid++
	res, err := w.process().Run(ctx, v, a)
	if d := res.Deleted; v == life.Delete && err == nil && w.data == deploy.DestroyData && d.Outcome != deploy.Clean {
		w.t.Errorf("all was to go, and delete ends %s: %+v", d.Outcome, d.Kept)
	}
	if v == life.Delete && res.Deleted != nil {
		// Whether a record that validated a certificate which was never whole is somebody
		// else's can't be told.
		for _, k := range res.Deleted.Kept {
			if k.Type == "AWS::Route53::RecordSet" {
				w.given[k.Type+" "+k.ID+"."] = true
			}
		}
	}
	unchanged := v == life.Create && res.Complete || v == life.Update && res.Changes == 0
	var no *deploy.RefusedError
	var faults config.Faults // what can't be, whatever is allowed
	switch {
	case errors.Is(err, deploy.ErrAbsent):
		return gone, err
	case errors.As(err, &no), errors.As(err, &faults):
		return refused, err
	case err != nil:
		return broken, err
	case unchanged:
		return nothing, nil
	}
	return done, nil
}

// disturb puts something in the way of the next command, or ends it.
func (w *world) disturb(over context.CancelCauseFunc) string {
	var faults string
	switch w.r.IntN(6) {
	case 0:
		faults = "share: 0.3, for: 30m, throttle: {}"
	case 1:
		faults = "share: 0.05, for: 1h, cut: {carriedOut: true}"
	case 2:
		faults = fmt.Sprintf("when: {call: {service: '*', number: %d}}, expire: {}", 1+w.r.IntN(200))
	case 3:
		faults = fmt.Sprintf("times: 2, share: 0.%02d, fail: {type: '*', on: [create, update, delete], error: InternalFailure}", 1+w.r.IntN(20))
	default:
		after := time.Duration(w.r.Int64N(int64(15 * time.Minute)))
		timer := time.AfterFunc(after, func() {
			w.dead.Store(true)
			over(errKilled)
		})
		w.timer = timer
		return fmt.Sprintf("killed after %s", after.Round(time.Second))
	}
	plan, err := rehearse.ParseFaults([]rehearse.Faults{{Name: "faults.yaml", Source: []byte("faults:\n- {id: it, " + faults + "}\n")}}, w.first.Config.Region)
	if err != nil {
		w.t.Fatal(err)
	}
	w.box.Break(fault.New(plan, fault.Options{Seed: w.r.Uint64(), Sleep: clock.Real{}.Sleep}))
	return faults
}

// calm ends all disturbance.
func (w *world) calm() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer = nil
	w.dead.Store(false)
	w.box.Break(fault.New(fault.Plan{}, fault.Options{}))
}

// planned holds a deployment to having nothing left to do.
func (w *world) planned(a *architecture.Architecture) {
	w.t.Helper()
	p, err := deploy.MakePlan(w.t.Context(), w.target(a))
	if err != nil {
		w.t.Errorf("plan: %v", err)
		return
	}
	for _, s := range p.Stacks {
		if s.Action != deploy.NoChange {
			w.t.Errorf("the plan of what is complete is to %s stack %s: %+v", s.Action, s.Stack, s.Changes)
		}
	}
}

// conforms holds a deployment to what verify asks of it.
func (w *world) conforms(a *architecture.Architecture) {
	w.t.Helper()
	w.said = append(w.said, "verify")
	rep, err := verify.Run(w.t.Context(), verify.Options{Architecture: a, AWS: w.target(a).AWS})
	if err != nil {
		w.t.Errorf("verify: %v", err)
		return
	}
	for _, res := range rep.Results {
		if res.Status == verify.Fail || res.Status == verify.CouldNotLook {
			w.t.Errorf("verify: %s: %s %s %v", res.ID, res.Status, res.Reason, res.Evidence)
		}
	}
}

// stateful are the resources of the deployment's stacks that hold data or cut off
// what depends on them, of those stacks alone if some are named.
func (w *world) stateful(of ...architecture.StackName) map[string]bool {
	types := guard.Stateful()
	all := map[string]bool{}
	for _, r := range w.box.Account().Resources() {
		_, stack, ours := strings.Cut(r.Owner, ":stack/"+w.first.Name()+"-")
		stack, _, _ = strings.Cut(stack, "/")
		ours = ours && (len(of) == 0 || slices.Contains(of, architecture.StackName(stack)))
		if ours && slices.Contains(types, r.Type) && r.Status != "PendingDeletion" {
			all[r.Type+" "+r.ID] = true
		}
	}
	return all
}

// remembered tells that AWS still keeps keys of what was deleted.
func (w *world) remembered() bool {
	return slices.ContainsFunc(w.box.Account().Resources(), func(r *account.Resource) bool {
		return r.Type == "AWS::KMS::Key" && r.Status == "PendingDeletion" && r.Tags[deploy.Tag] == w.first.Name()
	})
}

// standing are the stacks that a deletion leaves.
var standing = map[deploy.Data][]architecture.StackName{
	deploy.KeepData:     {architecture.Keys, architecture.Storage, architecture.Database, architecture.Network},
	deploy.SnapshotData: {architecture.Keys, architecture.Storage},
}

// snapshots are those of the database that were taken by hand and can be restored.
func (w *world) snapshots(a *architecture.Architecture) []*account.Resource {
	return slices.DeleteFunc(w.box.Account().Resources(), func(r *account.Resource) bool {
		return r.Type != "rds:snapshot" || r.Data["kind"] != "manual" || r.Data["instance"] != a.DatabaseName() || r.Status != "available"
	})
}

// snapshot is the newest of them that was taken since a time; "" if there is none.
func (w *world) snapshot(a *architecture.Architecture, since time.Time) (id string) {
	newest := since
	for _, r := range w.snapshots(a) {
		if !r.Created.Before(newest) {
			id, newest = r.ID, r.Created
		}
	}
	return id
}

func (w *world) removeSnapshots(a *architecture.Architecture) (ids []string) {
	w.t.Helper()
	for _, r := range w.snapshots(a) {
		if _, err := w.target(a).AWS.RDS.DeleteDBSnapshot(w.t.Context(), &rds.DeleteDBSnapshotInput{DBSnapshotIdentifier: &r.ID}); err != nil {
			w.t.Errorf("delete snapshot %s: %v", r.ID, err)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

// edited is what the deployment becomes by an edit; nil if it has nothing for it.
func (m *model) edited(e edit) *architecture.Architecture {
	m.t.Helper()
	f := e.make(m.r, m.is.Config, m.files[m.is])
	if f == nil {
		return nil
	}
	a, err := f.means()
	if err != nil {
		return nil // not valid in this one
	}
	m.files[a] = f
	if e.refused {
		return a // what it presupposes is not wanted
	}
	items, err := rehearse.Given(m.box, a)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, i := range items {
		m.given[i.Type+" "+i.ID] = true
	}
	return a
}

// another is a configuration that differs from what is in one to three edits, all
// of which are accepted or the last of which is not.
func (m *model) another(refused bool) *architecture.Architecture {
	m.t.Helper()
	was := m.is
	defer func() { m.is = was }()
	all := edits()
	var names []string
	for n := 1 + m.r.IntN(3); ; {
		e := all[m.r.IntN(len(all))]
		if last := n <= 1; e.refused != (refused && last) {
			continue
		}
		if a := m.edited(e); a != nil {
			m.is = a
			names = append(names, e.name)
			if n--; n < 1 {
				m.said = append(m.said, "edit "+strings.Join(names, ", "))
				return a
			}
		}
	}
}

// bucket is the deployment's bucket for models.
func (w *world) bucket(a *architecture.Architecture) *string {
	for _, r := range w.box.Account().Resources() {
		if r.Type == "AWS::S3::Bucket" && r.LogicalID == "ModelsBucket" && strings.Contains(r.Owner, ":stack/"+a.StackName(architecture.Storage)+"/") {
			return &r.ID
		}
	}
	return aws.String("missing")
}

func (w *world) putObject(a *architecture.Architecture, key, body string) error {
	_, err := w.target(a).AWS.S3.PutObject(w.t.Context(), &s3.PutObjectInput{Bucket: w.bucket(a), Key: &key, Body: strings.NewReader(body)})
	return err
}

func (w *world) object(a *architecture.Architecture, key string) (string, error) {
	out, err := s3.NewFromConfig(testkit.Config(w.box), func(o *s3.Options) { o.UsePathStyle = true }).GetObject(w.t.Context(), &s3.GetObjectInput{Bucket: w.bucket(a), Key: &key})
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	return string(b), err
}

// change changes something of the deployment as somebody else would, and says
// what.
func (m *model) change() string {
	m.t.Helper()
	ctx := m.t.Context()
	if m.r.IntN(2) == 0 {
		_, err := s3.NewFromConfig(testkit.Config(m.box), func(o *s3.Options) { o.UsePathStyle = true }).PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: m.bucket(m.is), PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(false), BlockPublicPolicy: aws.Bool(false), IgnorePublicAcls: aws.Bool(false), RestrictPublicBuckets: aws.Bool(false),
		}})
		if err != nil {
			m.t.Errorf("open the bucket: %v", err)
		}
		return "the block of public access"
	}
	_, err := cloudwatchlogs.NewFromConfig(testkit.Config(m.box)).PutRetentionPolicy(ctx, &cloudwatchlogs.PutRetentionPolicyInput{
		LogGroupName: aws.String("/aws/eks/" + m.is.ClusterName() + "/cluster"), RetentionInDays: aws.Int32(1),
	})
	if err != nil {
		m.t.Errorf("change the retention of the cluster's logs: %v", err)
	}
	return "how long the cluster's logs are kept"
}

// clean looks whether the account is as it was found, whatever delete says it
// kept, but for what AWS keeps by itself: keys that have a date, records of deleted stacks,
// service-linked roles, and a log group that RDS shares.
func (w *world) clean() {
	w.t.Helper()
	if diff := life.Left(w.start, w.box, w.given); diff != "" {
		w.t.Errorf("in the end the account is not as it was found:\n%s", diff)
	}
}
