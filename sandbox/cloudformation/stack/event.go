package stack

import (
	"fmt"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// Event is a stack event. It never changes.
type Event struct {
	ID                          string
	At                          time.Time
	LogicalID, PhysicalID, Type string
	Status, Reason              string
	Props                       map[string]any
	Token, Operation            string
	// Validation, Path and Mode (FAIL or WARN) are set for findings of the
	// checks before deployment.
	Validation, Path, Mode string
}

// stamp writes a time as the service does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (e *Engine) record(ev Event) {
	// Clients tell events apart by their ids, which hold the time, so no two
	// of a stack have the same.
	ev.At = e.tx.Now()
	if n := len(e.Stack.Events); n > 0 {
		if last := e.Stack.Events[n-1].At; !ev.At.After(last) {
			ev.At = last.Add(time.Millisecond)
		}
	}
	if ev.Type == "AWS::CloudFormation::Stack" {
		ev.ID = e.tx.UUID()
	} else {
		ev.ID = ev.LogicalID + "-" + ev.Status + "-" + stamp(ev.At)
	}
	if op := e.Stack.op; op != nil {
		ev.Token, ev.Operation = op.token, op.id
	}
	e.Stack.Events = append(e.Stack.Events, &ev)
}

// handlerError words an error as the events of a stack do.
func handlerError(tx *account.Tx, typ string, err error) string {
	ae, ok := err.(*account.Error)
	if !ok {
		return fmt.Sprintf("Resource handler returned message: \"%s\" (RequestToken: %s, HandlerErrorCode: InternalFailure)", err, tx.UUID())
	}
	code := handlerCode(ae.Code)
	message := ae.Message
	if code != "NotFound" && code != "AlreadyExists" || !strings.HasPrefix(message, "Resource of type ") {
		status := ae.Status
		if status == 0 {
			status = 400
		}
		message = fmt.Sprintf("%s (Service: %s, Status Code: %d, Request ID: %s)", message, serviceName(typ), status, tx.UUID())
	}
	if code == unauthorizedTagging {
		// https://repost.aws/knowledge-center/cloudformation-tagging-permission-error
		message = fmt.Sprintf("Encountered a permissions error performing a tagging operation, please add required tag permissions. See https://repost.aws/knowledge-center/cloudformation-tagging-permission-error for how to resolve. Resource handler returned message: \"%s\"", message)
	}
	return fmt.Sprintf("Resource handler returned message: \"%s\" (RequestToken: %s, HandlerErrorCode: %s)", message, tx.UUID(), code)
}

// unauthorizedTagging is the handlers' code for a refused tagging action.
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-test-contract-errors.html
const unauthorizedTagging = "UnauthorizedTaggingOperation"

// handlerCode sorts a service's error into CloudFormation's kinds.
// https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-test-contract-errors.html
func handlerCode(code string) string {
	for _, k := range []struct{ part, kind string }{
		{"NotFound", "NotFound"},
		{"NoSuch", "NotFound"},
		{"AlreadyExist", "AlreadyExists"},
		{"Duplicate", "AlreadyExists"},
		{"AlreadyOwnedByYou", "AlreadyExists"},
		{"Throttl", "Throttling"},
		{"RequestLimitExceeded", "Throttling"},
		{"LimitExceeded", "ServiceLimitExceeded"},
		{"Quota", "ServiceLimitExceeded"},
		{unauthorizedTagging, unauthorizedTagging},
		{"AccessDenied", "AccessDenied"},
		{"Unauthorized", "AccessDenied"},
		{"Conflict", "ResourceConflict"},
		{"InUse", "ResourceConflict"},
		{"ServiceUnavailable", "ServiceInternalError"},
		{"Internal", "ServiceInternalError"},
		{"NotStabilized", "NotStabilized"},
		{"Invalid", "InvalidRequest"},
		{"Validation", "InvalidRequest"},
		{"Malformed", "InvalidRequest"},
		{"Missing", "InvalidRequest"},
		{"DependencyViolation", "InvalidRequest"},
	} {
		if strings.Contains(code, k.part) {
			return k.kind
		}
	}
	return "GeneralServiceException"
}

// serviceName is the service of a type as SDKs write it: Ec2, Rds.
func serviceName(typ string) string {
	parts := strings.Split(typ, "::")
	if len(parts) < 2 {
		return typ
	}
	name := parts[1]
	if strings.ToUpper(name) == name {
		return name[:1] + strings.ToLower(name[1:])
	}
	return name
}
