package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/guard"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
	"github.com/poolhouse/poolhouse/upgrade"
)

// Upgrading is an upgrade of Kubernetes that is not over, as Parameter Store has it.
// What is left to do is told by the account itself; this says that there is an
// upgrade, and for how long its control plane has been watched.
type Upgrading struct {
	From  string        `json:"from"`
	To    string        `json:"to"`
	Stage upgrade.Stage `json:"stage"`
	Began time.Time     `json:"began"`
	// Well is since when the new control plane has been seen without trouble; zero as
	// long as there is some, or nobody has looked.
	Well time.Time `json:"wellSince,omitzero"`
	// Baked: it was well for as long as it should be.
	Baked bool `json:"baked,omitempty"`
}

// String is the upgrade in words.
func (u Upgrading) String() string {
	return fmt.Sprintf("an upgrade of Kubernetes from %s to %s, begun %s, at its stage %q", u.From, u.To, u.Began.UTC().Format(time.RFC3339), u.Stage)
}

// lookAtUpgrade reads the record; nil if no upgrade is under way.
func lookAtUpgrade(ctx context.Context, t Target) (*Upgrading, error) {
	path := t.Architecture.UpgradePath()
	out, err := t.AWS.SSM.GetParameter(ctx, &ssm.GetParameterInput{Name: &path})
	if awsapi.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var u Upgrading
	if err := json.Unmarshal([]byte(aws.ToString(out.Parameter.Value)), &u); err != nil {
		return nil, fmt.Errorf("read %s: %w; delete the parameter, and upgrade again, which goes on from what there is", path, err)
	}
	return &u, nil
}

// save writes the record.
func (u Upgrading) save(ctx context.Context, t Target) error {
	path := t.Architecture.UpgradePath()
	text, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	in := &ssm.PutParameterInput{
		Name: &path, Value: aws.String(string(text)), Type: ssmtypes.ParameterTypeString, Overwrite: aws.Bool(true),
		Description: aws.String("Where an upgrade of Kubernetes stands"),
	}
	under, err := lookAtUpgrade(ctx, t)
	if err != nil {
		return err
	}
	if under == nil {
		// Tags are for new parameters only.
		in.Overwrite = nil
		for _, k := range slices.Sorted(maps.Keys(t.Architecture.Tags)) {
			in.Tags = append(in.Tags, ssmtypes.Tag{Key: aws.String(k), Value: aws.String(t.Architecture.Tags[k])})
		}
	}
	_, err = t.AWS.SSM.PutParameter(ctx, in)
	if awsapi.IsExists(err) {
		// The answer to the first attempt was lost, and the SDK made another.
		in.Overwrite, in.Tags = aws.Bool(true), nil
		_, err = t.AWS.SSM.PutParameter(ctx, in)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// endUpgrade removes the record of an upgrade that has nothing left to go on with, also
// one that can't be read. Without one it only reads.
func endUpgrade(ctx context.Context, t Target) error {
	if under, err := lookAtUpgrade(ctx, t); under == nil && err == nil {
		return nil
	}
	return forgetUpgrade(ctx, t)
}

// forgetUpgrade removes the record, if there is one.
func forgetUpgrade(ctx context.Context, t Target) error {
	path := t.Architecture.UpgradePath()
	if _, err := t.AWS.SSM.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: &path}); absent(err) != nil {
		return fmt.Errorf("delete %s: %w", path, err)
	}
	return nil
}

// upgradable tells that a stack of a cluster has one that an upgrade may go on with.
func upgradable(st *stack.State) bool { return st.Exists() && stack.Lasts(st.Status) }

// upgradeRefusals refuse what would change a deployment between the stages of an
// upgrade. A record of a cluster that is gone refuses nothing, and is noted as orphan.
func (a *applying) upgradeRefusals(ctx context.Context) ([]guard.Refusal, error) {
	u, err := lookAtUpgrade(ctx, a.Target)
	if err != nil || u == nil {
		return nil, err
	}
	if a.orphan = !upgradable(a.states[architecture.Cluster]); a.orphan {
		return nil, nil
	}
	f := a.Architecture.Config.Fault("cluster.version", u.String()+", is not over, and nothing else is changed meanwhile", "go on with it: poolhouse upgrade kubernetes -f FILE")
	return []guard.Refusal{{Fault: f}}, nil
}
