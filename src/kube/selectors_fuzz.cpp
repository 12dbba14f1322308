// Arbitrary selector texts: no crash; what parses can be matched against any labels.
#include "json/parse.h"
#include "kube/selectors.h"

using namespace mr::kube;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 8 << 10) return 0;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  static const Object object =
      mr::json::parse(R"({"metadata":{"name":"x","labels":{"a":"b","n":"4","in":""}},"status":{"phase":"Running"}})")
          ->as_object();
  static const Kind kind = [] {
    Kind k;
    k.selectable = {"status.phase"};
    return k;
  }();
  if (auto s = LabelSelector::parse(text)) (void)s->matches(object);
  if (auto s = FieldSelector::parse(text, kind)) (void)s->matches(object);
  return 0;
}
