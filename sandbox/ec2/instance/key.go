package instance

import (
	"errors"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/kms"
	"github.com/poolhouse/poolhouse/sandbox/props"
)

// volumeKeys are the keys that template data names for encrypted volumes.
func volumeKeys(data map[string]any) []string {
	var out []string
	for _, m := range props.Maps(data, "BlockDeviceMappings") {
		if key := props.Str(m, "Ebs", "KmsKeyId"); key != "" {
			out = append(out, key)
		}
	}
	return out
}

// checkKeys refuses a launch by the role that can't use the key of one of the
// volumes. The words are those that the instance ends with: others for a role
// without permission than for a key that nobody can use.
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html
func checkKeys(tx *account.Tx, data map[string]any, role string) error {
	context := map[string]string{"kms:ViaService": "ec2." + tx.Region() + ".amazonaws.com", "kms:GrantIsForAWSResource": "true"}
	for _, key := range volumeKeys(data) {
		_, err := kms.Usable(tx, key, role, context, "kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext")
		if e, ok := errors.AsType[*account.Error](err); ok && e.Code == "AccessDeniedException" {
			return account.Errorf("Client.InternalError", "Client error on launch")
		} else if err != nil {
			return account.Errorf("Client.InvalidKMSKey.InvalidState", "The KMS key provided is in an incorrect state")
		}
	}
	return nil
}
