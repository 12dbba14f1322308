// Arbitrary documents and patches: nothing crashes, no patch grows a document without bound, and what is applied twice
// changes nothing the second time. The input is two JSON texts with a newline between; its first byte chooses.
#include <cstdlib>

#include "json/parse.h"
#include "kube/admission.h"
#include "kube/patch.h"

using namespace mr::kube;

namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 64 << 10) return 0;
  std::string_view all(reinterpret_cast<const char*>(data), size);
  const auto choice = static_cast<unsigned>(all[0]);
  all.remove_prefix(1);
  auto line = all.find('\n');
  if (line == std::string_view::npos) return 0;
  auto document = mr::json::parse(all.substr(0, line));
  auto patch = mr::json::parse(all.substr(line + 1));
  if (!document || !patch) return 0;
  static const Kinds kinds;
  static const auto deployments = kinds.find("apps", "v1", "deployments");
  static const auto pods = kinds.find("", "v1", "pods");
  const auto& kind = choice % 2 == 0 ? *deployments : *pods;
  const auto& version = kind.versions.front();
  switch (choice / 2 % 5) {
    case 0:
      (void)json_patch(*document, *patch);
      break;
    case 1: {
      auto once = *document;
      merge_patch(once, *patch);
      auto twice = once;
      merge_patch(twice, *patch);
      require(same(once, twice));
      break;
    }
    case 2:
      if (document->is_object() && patch->is_object())
        (void)strategic_merge(document->get_object(), patch->get_object(), *version.schema);
      break;
    case 3: {
      if (!document->is_object() || !patch->is_object()) break;
      ApplyOptions o{"fuzzer", choice >= 128, "", "apps/v1"};
      auto first = apply(nullptr, document->get_object(), version.schema, o);
      if (!first) break;
      auto again = apply(&*first, document->get_object(), version.schema, o);
      require(again && same(Value(*first), Value(*again)));
      o.manager = "other";
      auto second = apply(&*first, patch->get_object(), version.schema, o);
      if (!second) break;
      track_update(&*first, *second, version.schema, "third", "apps/v1", "");
      break;
    }
    default: {
      if (!document->is_object()) break;
      auto object = document->get_object();
      prune(kind, version, object);
      set_defaults(kind, version, object);
      auto again = object;
      set_defaults(kind, version, again);
      require(same(Value(object), Value(again)));
      const Object* before = patch->is_object() ? &patch->get_object() : nullptr;
      (void)validate(kind, version, object, before);
      (void)warnings(kind, version, object);
      (void)kind_of_crd(object);
    }
  }
  return 0;
}
