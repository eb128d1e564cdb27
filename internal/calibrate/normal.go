package calibrate

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/sandbox/account"
)

// own are what belongs to one account or one request only, and what stands for
// it.
var own = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "UUID"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?\b`), "TIME"},
	{regexp.MustCompile(`\b(RequestI[dD]: )[0-9A-Z]+`), "${1}ID"},
	{regexp.MustCompile(`(arn:[a-z-]+:(?:sts|iam)::ACCOUNT:)(assumed-role/[^\s'"]+|user/[^\s'"]+|root)`), "${1}CALLER"},
}

// absent are ids that nothing has, which are left as they are.
const absentDigits = "0123456789abcdef0"

var resourceID = regexp.MustCompile(`\b([a-z]+(?:-[a-z]+)?)-([0-9a-f]{17}|[0-9a-f]{8})\b`)

// normal is text without what belongs to one account or one request.
func (s *side) normal(text string) string {
	if s.identity.account != "" {
		text = strings.ReplaceAll(text, s.identity.account, "ACCOUNT")
	}
	for _, o := range own {
		text = o.what.ReplaceAllString(text, o.with)
	}
	return resourceID.ReplaceAllStringFunc(text, func(id string) string {
		if strings.HasSuffix(id, absentDigits) {
			return id
		}
		return resourceID.ReplaceAllString(id, "$1-ID")
	})
}

// refusal notes how a request was refused, or that it wasn't.
func (s *side) refusal(name string, err error) {
	var response *awshttp.ResponseError
	switch {
	case err == nil:
		s.found(name, "accepted")
	case awsapi.IsDenied(err):
		s.unseen[name] = why(err)
	case awsapi.Code(err) == account.CodeNotModelled:
		s.unseen[name] = why(err)
	case awsapi.Code(err) == "" || !errors.As(err, &response):
		s.unseen[name] = err.Error()
	default:
		s.found(name, "%d %s: %s", response.HTTPStatusCode(), awsapi.Code(err), awsapi.Message(err))
	}
}

// list is a list in a few words.
func list[T ~string](values []T) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return fmt.Sprint(out)
}
