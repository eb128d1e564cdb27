package ssm

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ec2"
	"github.com/poolhouse/poolhouse/sandbox/ec2/endpoint"
	"github.com/poolhouse/poolhouse/sandbox/ec2/instance"
	"github.com/poolhouse/poolhouse/sandbox/iam"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// TypeSession is the resource type of a session that goes on. Its Data are
// "target", "host", "port", "localPort" and "token".
const TypeSession = "ssm:session"

// AgentVersion is what instances say that their agent is: one that forwards one
// connection at a time, which clients of all ages understand.
const AgentVersion = "3.0.161.0"

// remotePort is the document that forwards a port to another host, the only one
// that is modelled.
const remotePort = "AWS-StartPortForwardingSessionToRemoteHost"

// sessionOperations are Session Manager's, and those on managed instances.
func sessionOperations() []wire.Operation {
	return []wire.Operation{
		{Name: "StartSession", Do: startSession},
		{Name: "TerminateSession", Do: terminateSession},
		{Name: "DescribeSessions", Do: describeSessions},
		{Name: "GetConnectionStatus", Do: connectionStatus},
		{Name: "DescribeInstanceInformation", Do: describeInstances},
	}
}

// online tells whether the agent on an instance keeps its connection: the
// instance runs, its role may, and it reaches Systems Manager by endpoint or
// over the internet.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-prerequisites.html
func online(tx *account.Tx, i *account.Resource) bool {
	if i == nil || i.Status != "running" {
		return false
	}
	profile := props.Map(i.Props, "Template", "IamInstanceProfile")
	name, arn := props.Str(profile, "Name"), props.Str(profile, "Arn")
	p := tx.Find(iam.TypeInstanceProfile, func(r *account.Resource) bool {
		return r.ID == name || arn != "" && props.Str(r.Attrs, "Arn") == arn
	})
	if p == nil || !slices.ContainsFunc(props.Strs(p.Props, "Roles"), func(role string) bool {
		r := tx.Get(iam.TypeRole, role)
		return r != nil && slices.ContainsFunc(iam.AttachedPolicies(tx, r), func(policy string) bool {
			return strings.HasSuffix(policy, ":iam::aws:policy/AmazonSSMManagedInstanceCore")
		})
	}) {
		return false
	}
	s, err := ec2.FindSubnet(tx, props.Str(i.Props, "SubnetId"))
	if err != nil {
		return false
	}
	var groups []string
	for _, face := range ec2.InterfacesOf(tx, i.ID) {
		groups = append(groups, ec2.InterfaceGroups(face)...)
	}
	address, err := netip.ParseAddr(props.Str(i.Attrs, "PrivateIp"))
	if err != nil {
		return false
	}
	own := netip.PrefixFrom(address, address.BitLen())
	out := ec2.ReachesInternet(tx, s) != "" && ec2.Any443(tx, groups, ec2.TypeSecurityGroupEgress, nil, netip.MustParsePrefix("0.0.0.0/0"))
	return out || endpoint.Answers(tx, s, "ssm", groups, own) && endpoint.Answers(tx, s, "ssmmessages", groups, own)
}

func startSession(tx *account.Tx, r *wire.Request) (any, error) {
	target := r.String("Target")
	if target == "" {
		return nil, account.Errorf("ValidationException", "1 validation error detected: Value null at 'target' failed to satisfy constraint: Member must not be null")
	}
	document := r.String("DocumentName")
	switch {
	case document == "" || strings.HasPrefix(document, "AWS-") && document != remotePort:
		return nil, account.NotModelled("sessions of the document %q are not modelled by the sandbox", cmp.Or(document, "SSM-SessionManagerRunShell"))
	case document != remotePort:
		return nil, account.Errorf("InvalidDocument", "Document with name %s does not exist.", document)
	}
	if !online(tx, tx.Get(ec2.TypeInstance, target)) {
		return nil, account.Errorf("TargetNotConnected", "%s is not connected.", target)
	}
	parameter := func(name string) string {
		values := props.Strs(r.In, "Parameters", name)
		if len(values) == 0 {
			return ""
		}
		return values[0]
	}
	for _, name := range []string{"portNumber", "localPortNumber"} {
		n, err := strconv.Atoi(cmp.Or(parameter(name), "0"))
		if err != nil || n < 0 || n > 65535 {
			return nil, account.Errorf("ValidationException", "Parameter %q has value %q not matching allowed pattern", name, parameter(name))
		}
	}
	if parameter("host") == "" || parameter("portNumber") == "" {
		return nil, account.Errorf("ValidationException", "Parameters host and portNumber are required by document %s", document)
	}
	caller := r.Caller[strings.LastIndex(r.Caller, "/")+1:]
	id := caller + "-" + tx.HexID(17)
	s := &account.Resource{
		Type: TypeSession, ID: id, Status: "Connected", Owner: r.Caller, Created: tx.Now(),
		Props: map[string]any{"Target": target, "DocumentName": document, "Reason": r.String("Reason")},
		Data: map[string]any{
			"host": parameter("host"), "port": parameter("portNumber"), "localPort": parameter("localPortNumber"), "token": tx.HexID(64),
		},
	}
	tx.Put(s)
	usual := fmt.Sprintf("wss://ssmmessages.%s.amazonaws.com/v1/data-channel/%s", tx.Region(), id)
	return map[string]any{"SessionId": id, "StreamUrl": tx.SessionStream(id, usual), "TokenValue": s.Data["token"]}, nil
}

// terminateSession ends a session; one that has ended stays so. What has ended
// is not kept.
func terminateSession(tx *account.Tx, r *wire.Request) (any, error) {
	id := r.String("SessionId")
	tx.Drop(TypeSession, id)
	return map[string]any{"SessionId": id}, nil
}

func describeSessions(tx *account.Tx, r *wire.Request) (any, error) {
	if r.String("State") != "Active" {
		return nil, account.NotModelled("the history of sessions is not modelled by the sandbox")
	}
	out := []any{}
	for _, s := range tx.List(TypeSession) {
		fits := true
		for _, f := range props.Maps(r.In, "Filters") {
			have, ok := map[string]string{"Target": props.Str(s.Props, "Target"), "SessionId": s.ID, "Owner": s.Owner, "Status": s.Status}[props.Str(f, "key")]
			if !ok {
				return nil, account.NotModelled("sessions filtered by %s are not modelled by the sandbox", props.Str(f, "key"))
			}
			fits = fits && have == props.Str(f, "value")
		}
		if fits {
			d := map[string]any{
				"SessionId": s.ID, "Target": s.Props["Target"], "Status": s.Status, "StartDate": s.Created, "DocumentName": s.Props["DocumentName"],
				"Owner": s.Owner,
			}
			if reason := props.Str(s.Props, "Reason"); reason != "" {
				d["Reason"] = reason
			}
			out = append(out, d)
		}
	}
	return map[string]any{"Sessions": out}, nil
}

func connectionStatus(tx *account.Tx, r *wire.Request) (any, error) {
	status := "notconnected"
	if online(tx, tx.Get(ec2.TypeInstance, r.String("Target"))) {
		status = "connected"
	}
	return map[string]any{"Target": r.String("Target"), "Status": status}, nil
}

// pingEvery is how often an agent pings Systems Manager.
// https://github.com/aws/amazon-ssm-agent#configuration
const pingEvery = 5 * time.Minute

// Events are the handlers of this package's events: an agent that is connected
// once its instance is up is managed from then on, connected or not.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){
		instance.Booted: func(tx *account.Tx, e account.Event) {
			if i := tx.Get(e.Type, e.ID); online(tx, i) {
				i.Data["registered"] = tx.Now()
			}
		},
	}
}

// ping is the state of an agent's connection, and when it was heard last: of one
// that is connected at its last turn, of another one when it registered, since
// what became of it meanwhile is not kept. The state is "" if the instance is not
// managed.
func ping(tx *account.Tx, i *account.Resource) (state string, at time.Time) {
	registered, managed := i.Data["registered"].(time.Time)
	switch {
	case online(tx, i):
		at = tx.Now()
		if managed {
			at = registered.Add(tx.Now().Sub(registered).Truncate(pingEvery))
		}
		return "Online", at
	case managed && i.Status == "running":
		return "ConnectionLost", registered
	}
	return "", at
}

// describeInstances lists the instances whose agents are connected, or were.
// Those that never were are not managed.
func describeInstances(tx *account.Tx, r *wire.Request) (any, error) {
	if r.Has("InstanceInformationFilterList") {
		return nil, account.NotModelled("InstanceInformationFilterList is not modelled by the sandbox: use Filters")
	}
	out := []any{}
	for _, i := range tx.List(ec2.TypeInstance) {
		state, heard := ping(tx, i)
		if state == "" {
			continue
		}
		fits := true
		for _, f := range props.Maps(r.In, "Filters") {
			have, ok := map[string]string{"InstanceIds": i.ID, "PingStatus": state, "ResourceType": "EC2Instance", "PlatformTypes": "Linux"}[props.Str(f, "Key")]
			if !ok {
				return nil, account.Errorf("InvalidFilterKey", "The filter key %s is not valid.", props.Str(f, "Key"))
			}
			fits = fits && slices.Contains(props.Strs(f, "Values"), have)
		}
		if fits {
			out = append(out, map[string]any{
				"InstanceId": i.ID, "PingStatus": state, "LastPingDateTime": heard, "AgentVersion": AgentVersion, "IsLatestVersion": false,
				"PlatformType": "Linux", "PlatformName": "Amazon Linux", "PlatformVersion": "2023", "ResourceType": "EC2Instance",
				"IPAddress": i.Attrs["PrivateIp"], "ComputerName": i.Attrs["PrivateDnsName"], "RegistrationDate": i.Created,
			})
		}
	}
	return map[string]any{"InstanceInformationList": out}, nil
}
