package export

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poolhouse/poolhouse/architecture"
	"github.com/poolhouse/poolhouse/deploy"
	"github.com/poolhouse/poolhouse/templates"
)

// value is a parameter of a stack: as the shell gets it, and as it stands in
// the parameters file. Where the shell needs nothing, the template's default
// holds.
type value struct{ name, shell, file string }

// values are the parameters of a stack: the outputs of other stacks, then what
// the deployer decides, then those with defaults.
func values(a *architecture.Architecture, s templates.Stack) []value {
	var list []value
	for _, in := range s.Inputs {
		list = append(list, value{
			in.Parameter,
			fmt.Sprintf(`"$(out %s %s)"`, in.Stack, in.Output),
			fmt.Sprintf("<output %s of stack %s>", in.Output, a.StackName(architecture.StackName(in.Stack))),
		})
	}
	for _, p := range s.Parameters {
		zone, isZone := strings.CutPrefix(p.Name, templates.ZoneIDParameter)
		named, isName := strings.CutPrefix(p.Name, templates.ZoneNameParameter)
		switch {
		case isName:
			list = append(list, value{p.Name, `"$(aws ec2 describe-availability-zones --zone-ids "$ZONE` + named + `" --query 'AvailabilityZones[0].ZoneName' --output text)"`, "<name of zone " + named + " in this account>"})
		case isZone:
			list = append(list, value{p.Name, `"$ZONE` + zone + `"`, "<id of zone " + zone + ">"})
		case p.Name == templates.CallerParameter:
			list = append(list, value{p.Name, `"$CALLER"`, "<ARN of the role or user that administers the cluster>"})
		default:
			list = append(list, value{p.Name, "", p.Default})
		}
	}
	return list
}

// quote makes one word of the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// page is the README.
func page(a *architecture.Architecture, stacks []templates.Stack) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	c := a.Config
	line("%s", marker)
	line("# %s in %s, by hand", c.Name, c.Region)
	line("")
	line("One CloudFormation template for each stack, with its parameters. What stands here does")
	line("what `poolhouse create` and `poolhouse update` do. The commands are for bash and the AWS")
	line("CLI, run in this folder, with credentials for the account. Each one can be repeated.")
	line("")
	line("The parameters files hold the same values for other tools; what stands in angle brackets")
	line("is known only when the stack before is there.")
	line("")
	line("## Before")
	line("")
	line("Set what only you know: the role or user that administers the cluster (for a session of an")
	if c.Network.Exists() {
		line("assumed role, the role's own ARN), and the ids of the zones of the %d control-plane subnets,", a.Zones)
		line("in the order of the file, which is that of the other subnets too. They can't change later.")
		line("The network itself is not looked at here: `poolhouse plan` does that.")
	} else {
		line("assumed role, the role's own ARN), and the ids of %d zones that EKS supports. They can't", a.Zones)
		line("change later.")
	}
	line("")
	line("```bash")
	line("export AWS_REGION=%s", c.Region)
	line("aws sts get-caller-identity")
	line("aws ec2 describe-availability-zones --filters Name=zone-type,Values=availability-zone \\")
	line("  --query 'AvailabilityZones[].ZoneId' --output text")
	line("")
	line("CALLER=arn:%s:iam::ACCOUNT:role/ROLE", c.Partition())
	reserved := a.ReservedZoneIDs()
	for i := range a.Zones {
		zone, why := "ZONE-ID", ""
		if i < len(reserved) {
			zone, why = reserved[i], " # the capacity reservation is there"
		}
		line("ZONE%d=%s%s", i+1, zone, why)
	}
	var tags []string
	for _, k := range slices.Sorted(maps.Keys(a.Tags)) {
		tags = append(tags, quote(k+"="+a.Tags[k]))
	}
	line("TAGS=(%s)", strings.Join(tags, " "))
	line("")
	line("# out STACK OUTPUT prints an output of a stack.")
	line("out() {")
	line("  aws cloudformation describe-stacks --stack-name \"%s-$1\" --output text \\", c.Name)
	line("    --query \"Stacks[0].Outputs[?OutputKey=='$2'].OutputValue\"")
	line("}")
	line("```")
	line("")
	line("The key of the nodes' volumes names the service-linked role of Auto Scaling. If the account")
	line("has it, this says that its name has been taken.")
	line("")
	line("```bash")
	line("aws iam create-service-linked-role --aws-service-name autoscaling.amazonaws.com")
	line("```")
	line("")
	line("## The stacks, in order")
	line("")
	line("A stack can start once those it comes after are complete; others may go on meanwhile.")
	for i, s := range stacks {
		stackSection(line, a, i, s)
	}
	if c.Database.DeletionProtection {
		protectSection(line, a, stacks)
	}
	return b.Bytes()
}

type printer func(format string, args ...any)

func stackSection(line printer, a *architecture.Architecture, i int, s templates.Stack) {
	entry, _ := a.Stack(s.Name)
	line("")
	line("### %d. %s", i+1, s.Name)
	line("")
	after := ""
	if len(s.After) > 0 {
		var names []string
		for _, n := range s.After {
			names = append(names, string(n))
		}
		after = ", after " + strings.Join(names, ", ")
	}
	line("%s%s.", strings.ToUpper(entry.Holds[:1])+entry.Holds[1:], after)
	line("")
	line("```bash")
	deployCommand(line, a, i, s, func(v value) string { return v.shell })
	line("```")
	// The default group of a network that was there is not ours to change.
	if s.Name == architecture.Network && !a.Config.Network.Exists() {
		line("")
		line("CloudFormation can't empty the VPC's default security group, so that nothing uses it by")
		line("mistake:")
		line("")
		line("```bash")
		line("GROUP=$(aws ec2 describe-security-groups --query 'SecurityGroups[0].GroupId' --output text \\")
		line("  --filters Name=group-name,Values=default Name=vpc-id,Values=\"$(out network VpcId)\")")
		line("aws ec2 revoke-security-group-ingress --group-id \"$GROUP\" \\")
		line("  --ip-permissions \"IpProtocol=-1,UserIdGroupPairs=[{GroupId=$GROUP}]\"")
		line("aws ec2 revoke-security-group-egress --group-id \"$GROUP\" \\")
		line("  --ip-permissions 'IpProtocol=-1,IpRanges=[{CidrIp=0.0.0.0/0}]'")
		line("```")
	}
}

// deployCommand prints the command that creates or updates a stack, with the
// parameters for which shell gives a value.
func deployCommand(line printer, a *architecture.Architecture, i int, s templates.Stack, shell func(value) string) {
	lines := []string{
		"aws cloudformation deploy --stack-name " + s.StackName,
		"--template-file " + fileName(i, s) + ".template.json",
		"--capabilities CAPABILITY_NAMED_IAM --no-fail-on-empty-changeset",
		`--tags "${TAGS[@]}"`,
	}
	if r := a.Config.ServiceRole; r != "" {
		lines = append(lines, "--role-arn "+r)
	}
	var overrides []string
	for _, v := range values(a, s) {
		if text := shell(v); text != "" {
			overrides = append(overrides, "  "+v.name+"="+text)
		}
	}
	if overrides != nil {
		lines = append(append(lines, "--parameter-overrides"), overrides...)
	}
	line("%s", strings.Join(lines, " \\\n  "))
}

func protectSection(line printer, a *architecture.Architecture, stacks []templates.Stack) {
	line("")
	line("## Protection")
	line("")
	line("Once all stacks are complete, switch protection against deletion on. Before, a creation")
	line("that fails could not roll back.")
	line("")
	line("```bash")
	for i, s := range stacks {
		if slices.ContainsFunc(s.Parameters, func(p templates.Parameter) bool { return p.Name == templates.ProtectionParameter }) {
			deployCommand(line, a, i, s, func(v value) string {
				if v.name == templates.ProtectionParameter {
					return strconv.FormatBool(true)
				}
				return ""
			})
		}
	}
	line("for stack in %s; do", strings.Join(stackNames(stacks, deploy.HoldsState), " "))
	line("  aws cloudformation set-stack-policy --stack-policy-body file://%s --stack-name \"$stack\"", stackPolicy)
	line("done")
	line("for stack in %s; do", strings.Join(stackNames(stacks, func(templates.Stack) bool { return true }), " "))
	line("  aws cloudformation update-termination-protection --enable-termination-protection --stack-name \"$stack\"")
	line("done")
	line("```")
}

func stackNames(stacks []templates.Stack, which func(templates.Stack) bool) []string {
	var names []string
	for _, s := range stacks {
		if which(s) {
			names = append(names, s.StackName)
		}
	}
	return names
}
