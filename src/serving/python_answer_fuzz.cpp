// What a Python worker sends: a head, a header and arrays; the answer is cut apart and written as both protocols do.
#include "serving/parts.h"
#include "serving/python/wire.h"

using namespace mr::serving;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view all(reinterpret_cast<const char*>(data), size);
  auto head = python::read_head(all.substr(0, python::kHeadBytes));
  if (!head || all.size() < python::kHeadBytes + head->header) return 0;
  auto answer =
      python::decode(all.substr(python::kHeadBytes, head->header), all.substr(python::kHeadBytes + head->header));
  if (!answer || !answer->ok || answer->ready) return 0;
  auto& output = answer->output;
  auto rows = output.parts.empty()            ? output.rows
              : output.parts[0].shape.empty() ? std::size_t{1}
                                              : static_cast<std::size_t>(output.parts[0].shape[0]);
  for (const auto& part : python::split(output, {rows / 2, rows - rows / 2}).value_or(std::vector<Output>{output})) {
    if (part.parts.empty()) continue;
    std::string text;
    append_v2_outputs(text, part);
    append_predictions(text, part);
  }
  return 0;
}
