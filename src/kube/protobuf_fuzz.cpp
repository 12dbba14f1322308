// Any bytes as a protobuf body: it must be refused or give a document that the strict checks accept to look at.
#include "json/parse.h"
#include "kube/wire.h"

namespace {

// The kinds that clients send as protobuf; the first byte of the input chooses.
constexpr std::pair<std::string_view, std::string_view> kinds[] = {
    {"v1", "Secret"},        {"v1", "Pod"},
    {"v1", "Service"},       {"apps/v1", "Deployment"},
    {"batch/v1", "CronJob"}, {"rbac.authorization.k8s.io/v1", "ClusterRole"},
    {"v1", "DeleteOptions"}, {"authorization.k8s.io/v1", "SubjectAccessReview"},
    {"v1", "ResourceQuota"}, {"authentication.k8s.io/v1", "TokenRequest"},
};

void append(std::string& out, unsigned number, std::string_view bytes) {
  out += static_cast<char>(number << 3 | 2);
  for (auto n = bytes.size();; n >>= 7) {
    out += static_cast<char>(n >= 0x80 ? (n & 0x7f) | 0x80 : n);
    if (n < 0x80) break;
  }
  out += bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mr::kube;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)decode_protobuf(input);
  if (input.empty()) return 0;
  const auto& [api_version, kind] = kinds[static_cast<unsigned char>(input[0]) % std::size(kinds)];
  std::string meta, body("k8s\0", 4);
  append(meta, 1, api_version);
  append(meta, 2, kind);
  append(body, 1, meta);
  append(body, 2, input.substr(1));
  if (const auto o = decode_protobuf(body)) (void)mr::json::serialize(*o);
  return 0;
}
