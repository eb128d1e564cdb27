package rehearse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/config"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/rds"
	"github.com/poolhouse/poolhouse/verify"
)

// colleague is the principal who changes things behind the deployment's back.
const colleague = "Colleague"

// breached is the check that an opened bucket fails, and no other.
const breached = "bucket-public-access"

// Verification is how a look at the account came out.
type Verification struct {
	Step Step `json:"step"`
	// Checks is how many there were, Passed how many of them passed.
	Checks int `json:"checks"`
	Passed int `json:"passed"`
	// Failed are the ids of those that failed.
	Failed []string `json:"failed"`
	// Unseen are those that could not look.
	Unseen []string `json:"couldNotLook"`
}

// Outage is what a lost zone left.
type Outage struct {
	Zone string `json:"zone"`
	// Foretold is what verify had said before.
	Foretold verify.Survival `json:"foretold"`
	// Serves is what still serves, Lost what does not.
	Serves []string `json:"serves"`
	Lost   []string `json:"lost"`
}

// look verifies the account and says what it found.
func (r *run) look(ctx context.Context, w wire, s Step, a *architecture.Architecture) (*verify.Report, error) {
	p, err := r.processAt(ctx, w)
	if err != nil {
		return nil, err
	}
	defer p.end()
	rep, err := verify.Run(p.ctx, verify.Options{Architecture: a, AWS: p.clients})
	if err != nil {
		return nil, err
	}
	v := Verification{Step: s, Checks: len(rep.Results), Failed: []string{}, Unseen: []string{}}
	for _, res := range rep.Results {
		switch res.Status {
		case verify.Pass:
			v.Passed++
		case verify.Fail:
			v.Failed = append(v.Failed, res.ID)
		case verify.CouldNotLook:
			v.Unseen = append(v.Unseen, res.ID+": "+res.Reason)
		}
	}
	r.report.Verifications = append(r.report.Verifications, v)
	r.report.Survives = rep.Survives
	return rep, nil
}

// verify expects just these checks to fail.
func (r *run) verify(ctx context.Context, s Step, title string, a *architecture.Architecture, failing ...string) error {
	return r.step(s, title, nil, func() (string, error) {
		if _, err := r.look(ctx, r.wire(), s, a); err != nil {
			return "", err
		}
		v := r.report.Verifications[len(r.report.Verifications)-1]
		if len(v.Unseen) > 0 {
			return "", &MismatchError{"checks that could not look", v.Unseen}
		}
		if !slices.Equal(v.Failed, failing) && len(v.Failed)+len(failing) > 0 {
			return "", &MismatchError{fmt.Sprintf("the failed checks are not %s", orNone(failing)), v.Failed}
		}
		if len(failing) > 0 {
			return fmt.Sprintf("of %s, %s fails and no other", count(v.Checks, "check"), failing[0]), nil
		}
		return fmt.Sprintf("%d of %s passed, the others don't apply", v.Passed, count(v.Checks, "check")), nil
	})
}

func orNone(ids []string) string {
	if len(ids) == 0 {
		return "none"
	}
	return strings.Join(ids, ", ")
}

// breach has somebody open a bucket, which verify must notice and an update
// must put right.
func (r *run) breach(ctx context.Context) error {
	bucket := ""
	err := r.step(StepBreach, "a colleague opens a bucket behind our back", nil, func() (string, error) {
		for _, res := range r.box.Account().Resources() {
			if res.Type == "AWS::S3::Bucket" && strings.Contains(res.ID, string(architecture.BucketModels)) {
				bucket = res.ID
			}
		}
		if bucket == "" {
			return "", errors.New("there is no bucket for models")
		}
		w := r.wire()
		w.principal = 1
		p, err := r.processAt(ctx, w)
		if err != nil {
			return "", err
		}
		defer p.end()
		_, err = p.clients.S3.PutPublicAccessBlock(p.ctx, &s3.PutPublicAccessBlockInput{
			Bucket: &bucket, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
				BlockPublicAcls: aws.Bool(false), BlockPublicPolicy: aws.Bool(false), IgnorePublicAcls: aws.Bool(false), RestrictPublicBuckets: aws.Bool(false),
			},
		})
		return "the block of public access is off for models", err
	})
	if err != nil {
		return err
	}
	if err := r.verify(ctx, StepNotice, "verify: it must be noticed", r.next, breached); err != nil {
		return err
	}
	err = r.step(StepRepair, "update: what drifted is put back", nil, func() (string, error) {
		p, err := r.process(ctx)
		if err != nil {
			return "", err
		}
		defer p.end()
		res, err := deploy.Update(p.ctx, deploy.CreateOptions{Target: r.target(p, r.next, StepRepair, nil)})
		if err != nil {
			return "", err
		}
		return count(res.Changes, "resource") + " changed", nil
	})
	if err != nil {
		return err
	}
	return r.verify(ctx, StepProve, "verify: all is well again", r.next)
}

// outage takes the zone of the primary database away from a copy of the
// account, and compares what still serves with what verify had said.
func (r *run) outage(ctx context.Context) error {
	return r.step(StepOutage, "a zone is lost, in a copy of the account", nil, func() (string, error) {
		zone, err := r.primaryZone()
		if err != nil {
			return "", err
		}
		o := Outage{Zone: zone.ID}
		for _, s := range r.report.Survives {
			if s.Failure == "zone "+zone.ID {
				o.Foretold = s
			}
		}
		if o.Foretold.Failure == "" {
			return "", fmt.Errorf("verify says nothing of the loss of zone %s", zone.ID)
		}
		fork := r.box.Clone(nil)
		if err := fork.LoseZone(zone.Name); err != nil {
			return "", err
		}
		// A database needs a minute or two to fail over.
		if err := r.clock.Sleep(ctx, 5*time.Minute); err != nil {
			return "", err
		}
		o.Serves, o.Lost = standing(fork, r.next)
		r.report.Outage = &o
		r.emit(ZoneLost{o})
		if survived := len(o.Lost) == 0; survived != o.Foretold.Survives {
			return "", &MismatchError{fmt.Sprintf("verify had foretold that the loss of zone %s is survived: %v", zone.ID, o.Foretold.Survives), append([]string{"lost"}, o.Lost...)}
		}
		if len(o.Lost) > 0 {
			return fmt.Sprintf("zone %s: lost as foretold: %s", zone.ID, strings.Join(o.Lost, ", ")), nil
		}
		return fmt.Sprintf("zone %s: all still serves, as foretold", zone.ID), nil
	})
}

// primaryZone is where the primary database is.
func (r *run) primaryZone() (account.Zone, error) {
	var zone account.Zone
	err := r.box.Account().Do(func(tx *account.Tx) error {
		db := tx.Get(rds.TypeInstance, r.next.DatabaseName())
		if db == nil {
			return errors.New("there is no database")
		}
		for _, z := range tx.Zones() {
			if z.Name == db.Data["zone"] {
				zone = z
			}
		}
		return nil
	})
	return zone, err
}

// standing says, from the account's store, what serves and what does not.
func standing(box *sandbox.Sandbox, a *architecture.Architecture) (serves, lost []string) {
	nodes := map[config.Role]int{}
	for _, g := range slices.Concat(a.NodeGroups, a.GPUGroups) {
		if g.Size > 0 {
			for _, role := range g.Roles() {
				nodes[role] += 0
			}
		}
	}
	serves, lost = []string{}, []string{}
	_ = box.Account().Do(func(tx *account.Tx) error {
		for _, g := range tx.List(eks.TypeNodegroup) {
			n := 0
			for _, i := range eks.Nodes(tx, g) {
				if i.Status == "running" {
					n++
				}
			}
			labels, _ := g.Props["Labels"].(map[string]any)
			for role := range nodes {
				for label := range architecture.LabelsFor(role) {
					if labels[label] != nil {
						nodes[role] += n
					}
				}
			}
		}
		for _, role := range slices.Sorted(maps.Keys(nodes)) {
			if n := nodes[role]; n > 0 {
				serves = append(serves, fmt.Sprintf("%s (%s)", role, count(n, "node")))
			} else {
				lost = append(lost, string(role))
			}
		}
		switch db := tx.Get(rds.TypeInstance, a.DatabaseName()); {
		case db == nil || db.Status != "available":
			lost = append(lost, "database")
		default:
			serves = append(serves, fmt.Sprintf("database (in %s)", db.Data["zone"]))
		}
		return nil
	})
	return serves, lost
}
