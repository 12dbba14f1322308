// Model files of the boosting libraries, from bytes to predictions.
#include "serving/formats/booster_file.h"

using namespace mr;
using namespace mr::serving;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const char* const classes[] = {"", "XGBClassifier", "LGBMClassifier", "Booster"};
  auto model = read_booster({reinterpret_cast<const char*>(data) + 1, size - 1}, classes[data[0] % 4]);
  if (!model) {
    // What a file says of itself reaches logs and terminals only in printable form.
    for (char c : model.error().message)
      if (static_cast<unsigned char>(c) < 0x20) std::abort();
    return 0;
  }
  if (model->features > 1000 || model->groups > 100) return 0;
  auto estimator = make_boosted_estimator(std::move(*model));
  for (std::size_t rows : {1, 40}) {
    Frame f;
    f.rows = rows;
    f.columns = estimator->features();
    f.data.resize(f.rows * f.columns);
    for (std::size_t i = 0; i < f.data.size(); ++i)
      f.data[i] = i % 7 == 3 ? std::nan("") : static_cast<double>(i % 5) - 1.5;
    auto out = estimator->predict(f);
    if (out && out->rows * out->width != (out->type == DataType::bytes ? out->texts.size() : out->numbers.size()))
      std::abort();
    auto shares = estimator->predict_proba(f);
    if (shares && shares->rows * shares->columns != shares->data.size()) std::abort();
  }
  return 0;
}
