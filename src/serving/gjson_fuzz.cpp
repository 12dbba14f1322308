// Conditions of InferenceGraph steps on documents: the path, a line break, the document.
#include "json/parse.h"
#include "serving/controller/gjson.h"

using namespace mr;
using namespace mr::serving;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view all(reinterpret_cast<const char*>(data), size);
  auto end = all.find('\n');
  auto path = JsonPath::parse(all.substr(0, end));
  if (!path || end == std::string_view::npos) return 0;
  if (auto document = json::parse(all.substr(end + 1))) (void)path->exists(*document);
  return 0;
}
