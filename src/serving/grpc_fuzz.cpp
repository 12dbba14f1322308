// Messages of the V2 protocol over gRPC: any bytes are read or refused, and what was read has values for its shapes.
#include "serving/grpc_messages.h"

using namespace mr::serving;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)read_two_texts(bytes);
  (void)read_index(bytes);
  auto asked = read_infer(bytes);
  if (!asked) return 0;
  for (const auto& in : asked->request.inputs) {
    std::vector<double> numbers;
    TextColumn texts;
    (void)asked->data->numbers(in, in.name, numbers);
    if (in.type == DataType::bytes && asked->data->texts(in, in.name, texts) &&
        texts.values.size() != texts.missing.size())
      __builtin_trap();
  }
  return 0;
}
