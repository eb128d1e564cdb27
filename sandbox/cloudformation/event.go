package cloudformation

import (
	"fmt"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// event is a stack event. It never changes.
type event struct {
	id                             string
	at                             time.Time
	logical, physical, typ         string
	status, reason                 string
	props                          map[string]any
	token, operation               string
	validation, path, validationOf string // for events of the checks before deployment
}

// stamp writes a time as the service does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (e *engine) record(ev event) {
	// Clients tell events apart by their ids, which hold the time, so no two
	// of a stack have the same.
	ev.at = e.tx.Now()
	if n := len(e.st.events); n > 0 {
		if last := e.st.events[n-1].at; !ev.at.After(last) {
			ev.at = last.Add(time.Millisecond)
		}
	}
	if ev.typ == "AWS::CloudFormation::Stack" {
		ev.id = uuid(e.tx)
	} else {
		ev.id = ev.logical + "-" + ev.status + "-" + stamp(ev.at)
	}
	if op := e.st.op; op != nil {
		ev.token, ev.operation = op.token, op.id
	}
	e.st.events = append(e.st.events, &ev)
}

// handlerError words an error as the events of a stack do.
func handlerError(tx *account.Tx, typ string, err error) string {
	ae, ok := err.(*account.Error)
	if !ok {
		return fmt.Sprintf("Resource handler returned message: \"%s\" (RequestToken: %s, HandlerErrorCode: InternalFailure)", err, uuid(tx))
	}
	code := handlerCode(ae.Code)
	message := ae.Message
	if code != "NotFound" && code != "AlreadyExists" || !strings.HasPrefix(message, "Resource of type ") {
		status := ae.Status
		if status == 0 {
			status = 400
		}
		message = fmt.Sprintf("%s (Service: %s, Status Code: %d, Request ID: %s)", message, serviceName(typ), status, uuid(tx))
	}
	return fmt.Sprintf("Resource handler returned message: \"%s\" (RequestToken: %s, HandlerErrorCode: %s)", message, uuid(tx), code)
}

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
