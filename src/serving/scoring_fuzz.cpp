// Bodies of MLflow's scoring protocol, as JSON and as CSV, against models with columns, with a tensor and without a
// signature: answered or refused in JSON.
#include "serving/scoring.h"

#include "json/parse.h"
#include "text/text.h"

using namespace mr;
using namespace mr::serving;

namespace {

// Takes any frame whose parts agree.
class Taker : public Engine {
 public:
  Result<Output> predict(const Frame& f) const override {
    if (f.data.size() != f.rows * f.columns) std::abort();
    for (const auto& [column, texts] : f.texts)
      if (column >= f.columns || texts.values.size() != f.rows || texts.missing.size() != f.rows) std::abort();
    if (!f.names.empty() && f.names.size() != f.columns) std::abort();
    if (f.rows == 0) return fail(Code::invalid_argument, "column #0 has no rows");
    Output o;
    o.rows = f.rows;
    o.numbers.assign(f.rows, 1);
    return o;
  }
  std::size_t features() const override { return 0; }
  const std::vector<std::string>& feature_names() const override {
    static const std::vector<std::string> none;
    return none;
  }
  std::string description() const override { return "taker"; }
};

std::unique_ptr<Model> taker(int kind) {
  auto m = std::unique_ptr<Model>(new Model{.name = "m",
                                            .success = metrics::counter("f_s", "f"),
                                            .failure = metrics::counter("f_f", "f"),
                                            .seconds = metrics::duration_histogram("f_h", "f")});
  m->loaded.engine = std::make_unique<Taker>();
  auto& s = m->loaded.signature;
  s.present = kind != 2;
  if (kind == 0)
    s.columns = {{"a", "double", DataType::fp64},
                 {"b", "string", DataType::bytes},
                 {"c", "long", DataType::int64, false},
                 {"d", "datetime", DataType::bytes, false}};
  if (kind == 1) {
    s.tensor = true;
    s.tensor_dtype = "float64";
    s.tensor_shape = {-1, 2};
  }
  return m;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::unique_ptr<Model> models[] = {taker(0), taker(1), taker(2)};
  std::string_view body(reinterpret_cast<const char*>(data), size);
  for (const auto& m : models)
    for (const char* type : {"application/json", "text/csv"}) {
      auto answer = score(*m, type, body);
      if ((answer.status != 200 && answer.status != 400) || !json::parse(answer.body) ||
          !text::utf8_valid(answer.body)) {
        std::fprintf(stderr, "%d %s\n", answer.status, answer.body.c_str());
        std::abort();
      }
    }
  return 0;
}
