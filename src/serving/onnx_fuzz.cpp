// What an ONNX worker reads by itself: model files for the files that their tensors name, and requests.
#include "json/parse.h"
#include "serving/onnx/exchange.h"
#include "serving/onnx/external_data.h"

using namespace mr::serving::onnx;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view all(reinterpret_cast<const char*>(data), size);
  (void)external_paths(all);
  auto end = all.find('\n');
  if (end == std::string_view::npos) return 0;
  auto header = mr::json::parse(all.substr(0, end));
  if (!header) return 0;
  auto port = [](const char* name, Element type, std::vector<std::int64_t> shape) {
    return Port{name, Kind::tensor, type, std::move(shape)};
  };
  for (const auto& inputs :
       {std::vector{port("x", Element::float32, {-1, 2})}, std::vector{port("x", Element::text, {-1})},
        std::vector{port("a", Element::int64, {-1, 1}), port("b", Element::float16, {})}})
    (void)feeds_of(*header, all.substr(end + 1), inputs);
  return 0;
}
