package sweep_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/deploy/sweep/life"
	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
)

// canonical is an account as sections of text, each a resource, that two
// accounts have in common when they differ in nothing but generated ids,
// secrets, moments, who got which address, and how many change sets there were.
// Ids of what stacks own are told apart by logical ids, so what refers to what
// is compared too.
func canonical(box *sandbox.Sandbox) []string {
	resources := box.Account().Resources()
	names := map[string]string{accountID: "account"} // generated id: stack/logical id
	for _, most := range []int{1, 2} {
		for _, r := range resources {
			if r.LogicalID == "" {
				continue
			}
			if ids := generated(r.ID); len(ids) <= most {
				for _, id := range ids {
					if names[id] == "" {
						names[id] = stackName(r.Owner) + "/" + r.LogicalID
					}
				}
			}
		}
	}
	var all, held []string
	flush := func() {
		// Nightly snapshots are the calendar's.
		automated := held != nil && strings.HasPrefix(held[0], "rds:snapshot ") && slices.Contains(held, "  data.kind = automated\n")
		if held != nil && !automated && !strings.HasPrefix(held[0], "cloudformation:changeset ") && (!strings.HasPrefix(held[0], "cloudformation:stack ") || !slices.Contains(held, "  status DELETE_COMPLETE\n")) {
			slices.Sort(held[1:])
			all = append(all, strings.Join(held, ""))
		}
		held = nil
	}
	for line := range strings.Lines(string(testkit.Dump(box.Account()))) {
		if !strings.HasPrefix(line, " ") {
			flush()
		}
		// An update that found nothing to do leaves a stack as its creation did.
		if line == "  status UPDATE_COMPLETE\n" {
			line = "  status CREATE_COMPLETE\n"
		}
		held = append(held, blank(line, names))
	}
	flush()
	slices.Sort(all)
	return all
}

func stackName(arn string) string {
	parts := strings.Split(arn, "/")
	if len(parts) < 2 {
		return arn
	}
	return parts[1]
}

// differing says what two canonical accounts do not have in common.
func differing(want, got []string) string {
	var b bytes.Buffer
	count := map[string]int{}
	for _, s := range want {
		count[s]++
	}
	for _, s := range got {
		count[s]--
	}
	var missing, extra []string
	for s, n := range count {
		for ; n > 0; n-- {
			missing = append(missing, s)
		}
		for ; n < 0; n++ {
			extra = append(extra, s)
		}
	}
	slices.Sort(missing)
	slices.Sort(extra)
	for _, m := range missing {
		// The same resource with other values is shown by its lines.
		head, body, _ := strings.Cut(m, "\n")
		i := slices.IndexFunc(extra, func(e string) bool { return strings.HasPrefix(e, head+"\n") })
		if i < 0 {
			fmt.Fprintf(&b, "- %s", m)
			continue
		}
		_, other, _ := strings.Cut(extra[i], "\n")
		extra = slices.Delete(extra, i, i+1)
		fmt.Fprintf(&b, "  %s\n", head)
		mine, theirs := strings.Split(body, "\n"), strings.Split(other, "\n")
		for _, l := range mine {
			if !slices.Contains(theirs, l) {
				fmt.Fprintf(&b, "-   %s\n", l)
			}
		}
		for _, l := range theirs {
			if !slices.Contains(mine, l) {
				fmt.Fprintf(&b, "+   %s\n", l)
			}
		}
	}
	for _, e := range extra {
		fmt.Fprintf(&b, "+ %s", e)
	}
	return b.String()
}

// asFound holds an account to its start: nothing is left but what a deletion
// named, and nothing at all but what it said to stay once AWS's windows are over.
func asFound(start []byte, box *sandbox.Sandbox, kept []deploy.Kept) error {
	named, forever := map[string]bool{}, map[string]bool{}
	for _, k := range kept {
		name := k.Type + " " + k.ID
		if k.Type == "AWS::RDS::DBSnapshot" {
			name = "rds:snapshot " + k.ID // CloudFormation has none
		}
		named[name] = true
		if k.Until.IsZero() {
			forever[name] = true
		}
	}
	if diff := life.Left(start, box, named); diff != "" {
		return fmt.Errorf("the account is not as it was found, without what was named:\n%s", indent(diff))
	}
	// The longest of AWS's windows is that of deleted stacks' records.
	time.Sleep(91 * day)
	if diff := life.Left(start, box, forever); diff != "" {
		return fmt.Errorf("when AWS's windows are over, the account is not as it was found:\n%s", indent(diff))
	}
	return nil
}
