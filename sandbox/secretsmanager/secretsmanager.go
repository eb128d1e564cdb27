// Package secretsmanager is AWS Secrets Manager.
//
// Invariants: a name belongs to one secret, also while that secret waits for
// its deletion; a secret's key exists and was usable when a value was written;
// a secret that waits gives no value away. Of values only ciphertexts are kept,
// under the secret's key and bound to the secret and the version.
//
// [Reveal] reads a secret's current value. All versions are in Data["versions"].
// Services that keep secrets for their users create them with the name's prefix
// of theirs ("rds!") and an Owner that is the service; users can't change those.
//
// Limits: values are encrypted under the key directly, without a data key in
// between; rotation other than by the service that owns a secret, and replication
// are not modelled.
package secretsmanager

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/iam/policy"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// TypeSecret is the resource type of this package; its id is the secret's ARN.
const TypeSecret = "AWS::SecretsManager::Secret"

const (
	deleteEvent = "secretsmanager:delete-secret"
	// maxValue is the largest value, in bytes.
	// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
	maxValue = 65536
)

// Types are the resource types of this package.
func Types() []*account.Type { return []*account.Type{secretType(), attachmentType()} }

// Events are the package's event handlers.
func Events() map[string]func(*account.Tx, account.Event) {
	return map[string]func(*account.Tx, account.Event){deleteEvent: func(tx *account.Tx, e account.Event) {
		s := tx.Get(TypeSecret, e.ID)
		if s == nil {
			return
		}
		// A secret that was restored, or scheduled anew, has another date.
		if at, ok := s.Data["DeletionDate"].(time.Time); ok && !at.After(tx.Now()) {
			tx.Drop(TypeSecret, e.ID)
		}
	}}
}

func secretType() *account.Type {
	return &account.Type{
		Name: TypeSecret, Latency: "secretsmanager:secret",
		Create: createSecret,
		Update: func(tx *account.Tx, s *account.Resource, next map[string]any) error {
			if err := present(s); err != nil {
				return err
			}
			if err := check(tx, s.ID, s.Owner, next); err != nil {
				return err
			}
			if keyOf(s.Props) != keyOf(next) {
				if err := reseal(tx, s, keyOf(next)); err != nil {
					return err
				}
			}
			if err := renew(tx, s, next); err != nil {
				return err
			}
			for k := range props.Tags(s.Props, "Tags") {
				delete(s.Tags, k)
			}
			for k, v := range props.Tags(next, "Tags") {
				s.Tags[k] = v
			}
			return nil
		},
		// CloudFormation deletes without a recovery window.
		// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-secretsmanager-secret.html
		Delete: nil,
	}
}

// renew writes the value that changed properties give a secret. A value stays
// until what gives it changes, also one that was generated.
func renew(tx *account.Tx, s *account.Resource, next map[string]any) error {
	if props.Has(next, "SecretString") {
		value, known, err := same(tx, s, next)
		if err != nil || known {
			return err
		}
		return write(tx, s, keyOf(next), value)
	}
	if !props.Has(next, "GenerateSecretString") || props.Same(s.Props["GenerateSecretString"], next["GenerateSecretString"]) {
		return nil
	}
	value, err := generate(tx, next)
	if err != nil {
		return err
	}
	return write(tx, s, keyOf(next), value)
}

func createSecret(tx *account.Tx, s *account.Resource) error {
	name := props.Str(s.Props, "Name")
	if name == "" {
		name = tx.Name(s, 64)
	}
	if err := checkName(name); err != nil {
		return err
	}
	if other := ByName(tx, name); other != nil {
		if other.Data["DeletedDate"] != nil {
			return account.Errorf("InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
		}
		return account.Errorf("ResourceExistsException", "The operation failed because the secret %s already exists.", name)
	}
	// The characters at the end aren't known yet; nobody can name them.
	if err := check(tx, tx.ARN("secretsmanager", "secret:"+name+"-AAAAAA"), s.Owner, s.Props); err != nil {
		return err
	}
	value, err := generate(tx, s.Props)
	if err != nil {
		return err
	}
	s.ID = tx.ARN("secretsmanager", "secret:"+name+"-"+suffix(tx))
	s.Attrs["Id"] = s.ID
	s.Data["Name"] = name
	s.Tags = props.Tags(s.Props, "Tags")
	s.Data["Changed"] = tx.Now()
	if props.Has(s.Props, "SecretString") {
		if _, _, err := same(tx, s, s.Props); err != nil {
			return err
		}
	}
	if value == "" {
		return nil
	}
	return write(tx, s, keyOf(s.Props), value)
}

// suffix are the six characters that tell a secret's ARN from that of a former
// one of the same name.
func suffix(tx *account.Tx) string { return pick(tx, letters+strings.ToUpper(letters)+digits, 6) }

// write stores a new current value under a key; the former one becomes
// AWSPREVIOUS.
func write(tx *account.Tx, s *account.Resource, key, content string) error {
	_, err := put(tx, s, key, "", value{text, content}, current)
	return err
}

// ByName returns the secret of a name, also one that waits for its deletion, or
// nil.
func ByName(tx *account.Tx, name string) *account.Resource {
	return tx.Find(TypeSecret, func(s *account.Resource) bool { return s.Data["Name"] == name })
}

// Lookup returns the secret that a name or a complete or partial ARN stands
// for, or Secrets Manager's ResourceNotFoundException.
func Lookup(tx *account.Tx, id string) (*account.Resource, error) {
	if s := tx.Get(TypeSecret, id); s != nil {
		return s, nil
	}
	if s := ByName(tx, strings.TrimPrefix(id, tx.ARN("secretsmanager", "secret:"))); s != nil {
		return s, nil
	}
	return nil, account.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

// present refuses a secret that waits for its deletion.
func present(s *account.Resource) error {
	if s.Data["DeletedDate"] != nil {
		return account.Errorf("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	}
	return nil
}

// own refuses users what belongs to a service.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/service-linked-secrets.html
func own(s *account.Resource) error {
	if service, ok := strings.CutSuffix(s.Owner, ".amazonaws.com"); ok {
		return account.Errorf("InvalidRequestException", "This secret is managed by %s. You can't perform this operation on it.", service)
	}
	return nil
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9/_+=.@!-]{1,512}$`)

func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return account.Errorf("ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	return nil
}

func check(tx *account.Tx, arn, owner string, p map[string]any) error {
	if props.Has(p, "SecretString") && props.Has(p, "GenerateSecretString") {
		return account.Errorf("InvalidRequestException", "You can't specify both SecretString and GenerateSecretString.")
	}
	if len(props.Str(p, "SecretString")) > maxValue {
		return account.Errorf("InvalidParameterException", "The secret value is larger than %d bytes.", maxValue)
	}
	if len(props.Str(p, "Description")) > 2048 {
		return account.Errorf("ValidationException", "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 2048")
	}
	if props.Has(p, "ReplicaRegions") {
		return account.NotModelled("ReplicaRegions of %s is not modelled by the sandbox", TypeSecret)
	}
	for k := range props.Tags(p, "Tags") {
		if strings.HasPrefix(k, "aws:") && !strings.HasPrefix(k, "aws:cloudformation:") && !strings.HasSuffix(owner, ".amazonaws.com") {
			return account.Errorf("InvalidParameterException", "Tag keys that begin with aws: are reserved: %s", k)
		}
	}
	if _, err := kms.Usable(tx, keyOf(p), "", keyContext(tx, arn), "kms:GenerateDataKey", "kms:Decrypt"); err != nil {
		return account.Errorf("EncryptionFailure", "Secrets Manager can't encrypt the protected secret text using the provided KMS key. Check that the KMS key is available, enabled, and not in an invalid state. (%v)", err)
	}
	return nil
}

// keyContext are the condition keys of the calls to KMS for a secret.
//
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
func keyContext(tx *account.Tx, arn string) map[string]string {
	return map[string]string{"kms:ViaService": "secretsmanager." + tx.Region() + ".amazonaws.com", "kms:EncryptionContext:SecretARN": arn}
}

const (
	letters     = "abcdefghijklmnopqrstuvwxyz"
	digits      = "0123456789"
	punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
)

// pick returns n characters of an alphabet, the same for the same seed and
// order of requests.
func pick(tx *account.Tx, alphabet string, n int) string {
	var out strings.Builder
	random := tx.HexID(4 * n)
	for i := range n {
		x := 0
		for _, c := range random[4*i : 4*i+4] {
			x = x<<4 | strings.IndexRune("0123456789abcdef", c)
		}
		out.WriteByte(alphabet[x%len(alphabet)])
	}
	return out.String()
}

// generate is the value that the properties give a secret, maybe none.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetRandomPassword.html
func generate(tx *account.Tx, p map[string]any) (string, error) {
	g := props.Map(p, "GenerateSecretString")
	if g == nil {
		return props.Str(p, "SecretString"), nil
	}
	password, err := password(tx, g)
	if err != nil {
		return "", err
	}
	key, template := props.Str(g, "GenerateStringKey"), props.Str(g, "SecretStringTemplate")
	if key == "" && template == "" {
		return password, nil
	}
	var content map[string]any
	if key == "" || template == "" || json.Unmarshal([]byte(template), &content) != nil || content == nil {
		return "", account.Errorf("InvalidRequestException", "GenerateStringKey and SecretStringTemplate must be given together, and the template must be a JSON object.")
	}
	content[key] = password
	out, err := json.Marshal(content)
	if err != nil {
		return "", account.Errorf("InvalidRequestException", "SecretStringTemplate: %v", err)
	}
	return string(out), nil
}

func password(tx *account.Tx, g map[string]any) (string, error) {
	n := props.Int(g, 32, "PasswordLength")
	if n < 1 || n > 4096 {
		return "", account.Errorf("InvalidParameterException", "Password length must be between 1 and 4096.")
	}
	var kinds []string
	for _, k := range []struct{ exclude, characters string }{
		{"ExcludeLowercase", letters}, {"ExcludeUppercase", strings.ToUpper(letters)}, {"ExcludeNumbers", digits}, {"ExcludePunctuation", punctuation},
	} {
		if props.Bool(g, false, k.exclude) {
			continue
		}
		left := strings.Map(func(c rune) rune {
			if strings.ContainsRune(props.Str(g, "ExcludeCharacters"), c) {
				return -1
			}
			return c
		}, k.characters)
		if left != "" {
			kinds = append(kinds, left)
		}
	}
	alphabet := strings.Join(kinds, "")
	if props.Bool(g, false, "IncludeSpace") {
		alphabet += " "
	}
	if alphabet == "" {
		return "", account.Errorf("InvalidRequestException", "There are no characters left to generate a password from.")
	}
	if !props.Bool(g, true, "RequireEachIncludedType") {
		return pick(tx, alphabet, n), nil
	}
	if n < len(kinds) {
		return "", account.Errorf("InvalidParameterException", "The password length is too short for the required character types.")
	}
	out := ""
	for _, k := range kinds {
		out += pick(tx, k, 1)
	}
	return out + pick(tx, alphabet, n-len(kinds)), nil
}

// Policies are the resource policy of the secret that an ARN names.
func Policies(tx *account.Tx, arn string) []*policy.Document {
	s := tx.Get(TypeSecret, arn)
	if s == nil || props.Str(s.Data, "policy") == "" {
		return nil
	}
	doc, err := policy.Parse(props.Str(s.Data, "policy"), policy.Resource)
	if err != nil {
		return nil
	}
	return []*policy.Document{doc}
}
