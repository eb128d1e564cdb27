package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/backup"
	backuptypes "github.com/aws/aws-sdk-go-v2/service/backup/types"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// surplus are the stacks that the account has and the configuration no longer,
// such as gpu, by name.
func (a *applying) surplus() []architecture.StackName {
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []architecture.StackName
	for _, name := range slices.Sorted(maps.Keys(a.states)) {
		if _, wanted := a.stacks[name]; !wanted && a.states[name].Exists() {
			names = append(names, name)
		}
	}
	return names
}

// removeSurplus deletes the stacks that the configuration no longer has, those that
// depend on others first, and with them what their deletion would leave behind,
// but for what holds data.
func (a *applying) removeSurplus(ctx context.Context) error {
	return inOrder(ctx, a.surplus(), reversed(architecture.Catalogue()), func(ctx context.Context, name architecture.StackName) error {
		return a.timed(name, DeleteStack, 0, func() (int, error) {
			// What an operation under way does with what it holds is over first.
			st, err := a.driver.Rest(ctx, a.state(name).ID)
			if err != nil || !st.Exists() {
				return 0, err
			}
			a.setState(name, st)
			held, err := a.driver.Resources(ctx, st.ID)
			if err != nil {
				return 0, err
			}
			if stack.ConditionOf(st.Status) == stack.Stillborn {
				if err := a.clear(name)(ctx, st, held); err != nil {
					return 0, err
				}
			}
			for _, res := range held {
				if res.PhysicalID == "" {
					continue
				}
				if err := a.releaseSurplus(ctx, name, st, res); err != nil {
					return 0, fmt.Errorf("release %s %s of stack %s: %w", res.Type, res.PhysicalID, st.Name, err)
				}
			}
			if st.Protected {
				if err := a.driver.Protect(ctx, st.ID, false); err != nil {
					return 0, err
				}
			}
			return 1, a.driver.Delete(ctx, st.ID, stack.DeleteOptions{RoleARN: a.Architecture.Config.ServiceRole})
		})
	})
}

// releaseSurplus takes away what a resource of a surplus stack would leave behind.
// While the stack is there it is the list of what is left to do.
func (a *applying) releaseSurplus(ctx context.Context, name architecture.StackName, st *stack.State, res stack.Resource) error {
	switch res.Type {
	case "AWS::CertificateManager::Certificate":
		body, err := a.driver.Template(ctx, st.ID)
		if err != nil {
			return err
		}
		for _, zone := range a.validatedIn(body) {
			err := a.forgetValidation(ctx, zone, res.PhysicalID, func(k Kept) { a.step(name, "record %s stays: %s", k.ID, k.Why) })
			if err != nil {
				return err
			}
		}
	case "AWS::Route53::HostedZone":
		return a.emptyZone(ctx, res.PhysicalID)
	case "AWS::Backup::BackupVault":
		points, err := a.releaseVault(ctx, name, res.PhysicalID)
		if len(points) > 0 {
			a.step(name, "backup vault %s stays, with its recovery points: %d", res.PhysicalID, len(points))
		}
		return err
	}
	return nil
}

// validatedIn are the zones that a certificate's stack, of this template, has its
// validation records in: one that the template names, and the deployment's own.
func (a *applying) validatedIn(body []byte) []string {
	var doc struct {
		Resources map[string]struct {
			Properties struct {
				DomainValidationOptions []struct{ HostedZoneId any }
			}
		}
	}
	// See localChanges.
	_ = json.Unmarshal(body, &doc)
	zones := []string{a.Architecture.Config.DNS.ZoneID, a.output(architecture.DNS, "HostedZoneId")}
	if st := a.state(architecture.DNS); st.Exists() {
		zones = append(zones, st.Outputs["HostedZoneId"])
	}
	for _, r := range doc.Resources {
		for _, o := range r.Properties.DomainValidationOptions {
			if zone, ok := o.HostedZoneId.(string); ok {
				zones = append(zones, zone)
			}
		}
	}
	slices.Sort(zones)
	return slices.DeleteFunc(slices.Compact(zones), func(z string) bool { return z == "" })
}

// planSurplus plans the deletion of a stack that the configuration no longer has:
// what CloudFormation takes away, and in words what goes or stays besides.
func (a *applying) planSurplus(ctx context.Context, name architecture.StackName) (StackPlan, error) {
	st := a.states[name]
	body, err := a.driver.Template(ctx, st.ID)
	if err != nil {
		return StackPlan{}, err
	}
	p := StackPlan{Stack: name, Name: st.Name, Action: DeleteStack, Expected: deleteTime(body)}
	if stack.ConditionOf(st.Status) != stack.Whole {
		p.Status = string(st.Status)
	}
	held, err := a.driver.Resources(ctx, st.ID)
	if err != nil {
		return p, err
	}
	ids := map[string]string{}
	for _, res := range held {
		ids[res.LogicalID] = res.PhysicalID
	}
	retained, err := retains(body)
	if err != nil {
		return p, fmt.Errorf("plan the deletion of stack %s: %w", st.Name, err)
	}
	for _, c := range localChanges(body, nil) {
		c.PhysicalID = ids[c.LogicalID]
		said, stays, err := a.besides(ctx, c, body)
		if err != nil {
			return p, err
		}
		if said != "" {
			p.Besides = append(p.Besides, said)
		} else if retained[c.LogicalID] {
			p.Besides, stays = append(p.Besides, fmt.Sprintf("%s %s stays, in no stack", c.Type, c.PhysicalID)), true
		}
		if !stays {
			p.Changes = append(p.Changes, c)
		}
	}
	return p, nil
}

// besides is what goes or stays with a resource of a surplus stack, in words; ""
// is nothing. Stays is that the resource itself does.
func (a *applying) besides(ctx context.Context, c stack.Change, body []byte) (said string, stays bool, err error) {
	switch c.Type {
	case "AWS::CertificateManager::Certificate":
		if zones := a.validatedIn(body); len(zones) > 0 {
			said = fmt.Sprintf("its validation records go from zone %s, but for those that other certificates need", strings.Join(zones, ", "))
		}
	case "AWS::Route53::HostedZone":
		said = fmt.Sprintf("zone %s goes with the records in it that validated certificates: what it answered for has to be answered elsewhere before", c.PhysicalID)
	case "AWS::Backup::BackupVault":
		if c.PhysicalID == "" {
			return "", false, nil
		}
		points, err := a.points(ctx, c.PhysicalID)
		switch {
		case awsapi.IsDenied(err):
			return fmt.Sprintf("backup vault %s stays if it holds recovery points, which can't be told: %s", c.PhysicalID, awsapi.Message(err)), true, nil
		case absent(err) != nil:
			return "", false, fmt.Errorf("look at backup vault %s: %w", c.PhysicalID, err)
		case len(points) > 0:
			return fmt.Sprintf("backup vault %s stays, with its recovery points: %d", c.PhysicalID, len(points)), true, nil
		}
		return fmt.Sprintf("backup vault %s goes too: it holds no recovery points", c.PhysicalID), false, nil
	}
	return said, false, nil
}

// releaseVault deletes a vault that holds no recovery points; those that another
// holds are returned, and it stays.
func (r *run) releaseVault(ctx context.Context, name architecture.StackName, vault string) ([]backuptypes.RecoveryPointByBackupVault, error) {
	// Backup refuses to delete one with points, also with one that a job made a
	// moment ago.
	// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteBackupVault.html
	_, err := r.AWS.Backup.DeleteBackupVault(ctx, &backup.DeleteBackupVaultInput{BackupVaultName: &vault})
	if err == nil {
		r.step(name, "deleted backup vault %s, which held no recovery points", vault)
		return nil, nil
	}
	if awsapi.Code(err) != "InvalidRequestException" {
		return nil, absent(err)
	}
	points, listed := r.points(ctx, vault)
	if listed != nil {
		return nil, absent(listed)
	}
	if len(points) == 0 {
		return nil, err
	}
	return points, nil
}
