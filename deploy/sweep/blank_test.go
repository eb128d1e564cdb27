package sweep_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// accountID is the account's number, which looks like a generated id.
const accountID = "123456789012"

// generated are the words of a text that look like ids that AWS makes up.
func generated(s string) []string {
	var ids []string
	for i := 0; i < len(s); {
		n := word(s[i:])
		if isGenerated(s[i:i+n]) && s[i:i+n] != accountID {
			ids = append(ids, s[i:i+n])
		}
		i += max(n, 1)
	}
	return ids
}

// word is the length of the word that a text begins with, with a UUID as one; 0
// if there is none.
func word(s string) int {
	n := 0
	for n < len(s) && alphanumeric(s[n]) {
		n++
	}
	if n == 8 && len(s) >= 36 && uuid.MatchString(s[:36]) {
		return 36
	}
	return n
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// isGenerated tells a word that people write from one that AWS makes up: eight
// hexadecimal digits or more, or a dozen capitals and digits, or a score of capitals.
func isGenerated(w string) bool {
	if len(w) < 8 {
		return false
	}
	lower, upper, digits := true, true, 0
	for i := range len(w) {
		c := w[i]
		if '0' <= c && c <= '9' {
			digits++
			continue
		}
		lower = lower && ('a' <= c && c <= 'f' || c == '-')
		upper = upper && 'A' <= c && c <= 'Z'
	}
	return lower && digits > 0 || upper && (digits > 0 && len(w) >= 12 || len(w) >= 20)
}

// madeUp are the ends of the paths of values that are made up as a whole.
var madeUp = []string{"CertificateAuthority.Data", "CertificateAuthorityData", ".sealed", ".given", ".material", ".mac", ".serial", "CreationTimestamp", ".Digest"}

func isMadeUp(path string) bool {
	return slices.ContainsFunc(madeUp, func(end string) bool { return strings.HasSuffix(path, end) }) || strings.Contains(path, "NameServers[")
}

// Made-up parts of values that are no ids.
var (
	suffixed = regexp.MustCompile(`(:secret:[^\s"]*-)[0-9A-Za-z]{6}\b`)
	taken    = regexp.MustCompile(`(-final-)\d{8}-\d{6}\b`) // a last snapshot
	moment   = regexp.MustCompile(`^\d{4}-\d\d-\d\d[^\s"]*`)
	address  = regexp.MustCompile(`^(?:\d{1,3}[.-]){3}\d{1,3}\b(?:/\d+)?`)
)

// blank replaces in a line what differs between two accounts that are alike.
// Names are what generated ids are called.
func blank(line string, names map[string]string) string {
	if at := strings.Index(line, " = "); at >= 0 && isMadeUp(line[:at]) {
		return line[:at] + " = <made up>\n"
	}
	if strings.Contains(line, ":secret:") {
		line = suffixed.ReplaceAllString(line, "$1#")
	}
	if strings.Contains(line, "-final-") {
		line = taken.ReplaceAllString(line, "$1#")
	}
	var b strings.Builder
	b.Grow(len(line) + 16)
	for i := 0; i < len(line); {
		if digit := '0' <= line[i] && line[i] <= '9'; digit {
			if m, as := numeral(line[i:]); m != "" {
				b.WriteString(as)
				i += len(m)
				continue
			}
		}
		n := word(line[i:])
		switch w := line[i : i+n]; {
		case n == 0:
			b.WriteByte(line[i])
			n = 1
		case names[w] != "":
			b.WriteString("<" + names[w] + ">")
		case isGenerated(w):
			b.WriteByte('#')
		default:
			b.WriteString(w)
		}
		i += n
	}
	return b.String()
}

// numeral is the moment, address or range of addresses that a text begins with,
// and what stands for it; "" if there is none. Expressions are slow, and most
// digits are of something else.
func numeral(s string) (m, as string) {
	if len(s) > 4 && s[4] == '-' {
		if m := moment.FindString(s); m != "" {
			return m, "<time>"
		}
	}
	if !strings.ContainsAny(s[:min(4, len(s))], ".-") {
		return "", ""
	}
	m = address.FindString(s)
	if strings.Contains(m, "/") && !strings.HasSuffix(m, "/32") {
		return m, m
	}
	return m, "<address>"
}

func TestBlank(t *testing.T) {
	t.Parallel()
	names := map[string]string{"0123456789abcdef0": "net/Vpc", accountID: "account"}
	for in, want := range map[string]string{
		"  props.VpcId = vpc-0123456789abcdef0\n":                      "  props.VpcId = vpc-<net/Vpc>\n",
		"  attrs.GroupId = sg-0aaaaaaaaaaaaaaa1\n":                     "  attrs.GroupId = sg-#\n",
		"  attrs.Arn = arn:aws:kms:us-east-1:123456789012:key/x\n":     "  attrs.Arn = arn:aws:kms:us-east-1:<account>:key/x\n",
		"  data.id = 3ceb8697-4def-8ff2-dec0-2e4e5bbd382b\n":           "  data.id = #\n",
		"  data.at = 2000-01-01T00:12:33Z and 12\n":                    "  data.at = <time> and 12\n",
		"  attrs.PrivateIp = 10.0.12.7\n":                              "  attrs.PrivateIp = <address>\n",
		"  props.CidrIp = 203.0.113.0/24\n":                            "  props.CidrIp = 203.0.113.0/24\n",
		"  attrs.PrivateDnsName = ip-10-0-12-7.ec2.internal\n":         "  attrs.PrivateDnsName = ip-<address>.ec2.internal\n",
		"  props.Arn = arn:x:secret:poolside-database-Secret-DejIll\n": "  props.Arn = arn:x:secret:poolside-database-Secret-#\n",
		"rds:snapshot poolside-final-20000103-000116\n":                "rds:snapshot poolside-final-#\n",
		"  data.versions[0].sealed = UFNLASQ\n":                        "  data.versions[0].sealed = <made up>\n",
		"  attrs.Id = Z0123456789ABCDEFGHIJ\n":                         "  attrs.Id = #\n",
		"  attrs.RoleId = AROAOQJITBXZVHEFZPJEP\n":                     "  attrs.RoleId = #\n",
		"  props.Engine = postgres, 17.4, db.m7g.large, DEFAULT\n":     "  props.Engine = postgres, 17.4, db.m7g.large, DEFAULT\n",
	} {
		if diff := cmp.Diff(want, blank(in, names)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
