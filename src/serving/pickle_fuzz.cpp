// Model files as pickles, from bytes to predictions.
#include "serving/engines/estimator.h"
#include "serving/engines/linear.h"
#include "serving/formats/pickle.h"
#include "text/text.h"

using namespace mr;
using namespace mr::serving;

namespace {

// Estimators made of nothing but trees.
bool is_trees(const Tree& tree) {
  auto name = tree.class_of(tree.root);
  return name.starts_with("sklearn.tree.") || name.starts_with("sklearn.ensemble._forest.") ||
         name.starts_with("sklearn.ensemble._iforest.") ||
         name.starts_with("sklearn.ensemble._hist_gradient_boosting.");
}

void ask(const Result<std::unique_ptr<Engine>>& engine) {
  if (!engine || (*engine)->features() > 1000) return;
  for (std::size_t rows : {2, 9}) {
    Frame f;
    f.rows = rows;
    f.columns = (*engine)->features();
    f.data.assign(f.rows * f.columns, 0.5);
    for (bool f32 : {false, true}) {
      f.f32 = f32;
      auto out = (*engine)->predict(f);
      if (out && out->rows * out->width != (out->type == DataType::bytes ? out->texts.size() : out->numbers.size()))
        std::abort();
    }
  }
}

}  // namespace

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
    ask(make_linear_engine(*tree, fn, "1.5.0"));
    if (is_trees(*tree)) ask(make_engine(*tree, fn, "1.5.0"));
  }
  return 0;
}
