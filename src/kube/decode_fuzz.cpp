// Any bytes as a JSON and as a YAML body: refused with a text, or an object that every check can be asked about.
#include "json/parse.h"
#include "kube/json_path.h"
#include "kube/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mr::kube;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  static const Type* const types[] = {builtin_type("io.k8s.api.core.v1.Pod"),
                                      builtin_type("io.k8s.api.apps.v1.Deployment"),
                                      builtin_type("io.kserve.serving.v1beta1.InferenceService")};
  static const Kinds all;
  static const auto pods = all.find("", "v1", "pods");
  for (const bool yaml : {false, true}) {
    std::vector<std::string> duplicates, unknown;
    const auto o = decode_text(input, yaml, duplicates);
    if (!o) {
      if (o.error().message.empty()) std::abort();
      continue;
    }
    // What we took, we must be able to write and take again.
    std::vector<std::string> none;
    if (!decode_text(mr::json::serialize(*o), false, none) || !none.empty()) std::abort();
    for (const auto* t : types) (void)check_types(*t, *o, unknown);
    (void)table_cells(*pods, pods->versions[0], *o);
  }
  static const Value root = {{"a", {{"b", {1, 2, 3}}}}};
  (void)json_path(root, input.substr(0, 200));
  return 0;
}
