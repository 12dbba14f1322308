// Model files as pickles, from bytes to predictions.
#include "serving/engines/linear.h"
#include "serving/formats/pickle.h"
#include "text/text.h"

using namespace mr;
using namespace mr::serving;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ReadLimits limits;
  limits.max_bytes = 4U << 20;
  limits.max_nodes = 100'000;
  limits.max_stack = 100'000;
  auto tree = read_pickle({reinterpret_cast<const char*>(data), size}, limits);
  if (!tree) {
    // What a file says of itself reaches logs and terminals only in printable form.
    for (char c : tree.error().message)
      if (static_cast<unsigned char>(c) < 0x20) std::abort();
    return 0;
  }
  for (const char* fn : {"predict", "predict_proba", "predict_log_proba"}) {
    auto engine = make_linear_engine(*tree, fn, "1.5.0");
    if (!engine || (*engine)->features() > 1000) continue;
    Frame f;
    f.rows = 2;
    f.columns = (*engine)->features();
    f.data.assign(f.rows * f.columns, 0.5);
    for (bool f32 : {false, true}) {
      f.f32 = f32;
      auto out = (*engine)->predict(f);
      if (out && out->rows * out->width != (out->type == DataType::bytes ? out->texts.size() : out->numbers.size()))
        std::abort();
    }
  }
  return 0;
}
