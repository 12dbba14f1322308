// Bodies of inference requests against models with columns, with a tensor and without a signature.
#include "json/parse.h"
#include "serving/v1.h"
#include "serving/v2.h"
#include "text/text.h"

using namespace mr;
using namespace mr::serving;

namespace {

class Sum : public Engine {
 public:
  Result<Output> predict(const Frame& f) const override {
    if (f.data.size() != f.rows * f.columns) std::abort();
    if (f.rows == 0 || f.columns != 2) return fail(Code::invalid_argument, "column #1 does not fit");
    Output o;
    o.type = f.f32 ? DataType::fp32 : DataType::fp64;
    o.rows = f.rows;
    for (std::size_t r = 0; r < f.rows; ++r) o.numbers.push_back(f.data[2 * r] + f.data[2 * r + 1]);
    return o;
  }
  std::size_t features() const override { return 2; }
  const std::vector<std::string>& feature_names() const override {
    static const std::vector<std::string> none;
    return none;
  }
  std::string description() const override { return "sum"; }
};

std::unique_ptr<Model> make(int kind) {
  auto m = std::unique_ptr<Model>(new Model{.name = "m",
                                            .success = metrics::counter("f_s", "f"),
                                            .failure = metrics::counter("f_f", "f"),
                                            .seconds = metrics::duration_histogram("f_h", "f")});
  m->loaded.engine = std::make_unique<Sum>();
  auto& s = m->loaded.signature;
  s.present = kind != 2;
  if (kind == 0) s.columns = {{"x", "double", DataType::fp64}, {"y", "long", DataType::int64}};
  if (kind == 1) {
    s.tensor = true;
    s.tensor_dtype = "float64";
    s.tensor_shape = {-1, 2};
  }
  return m;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::unique_ptr<Model> models[] = {make(0), make(1), make(2)};
  std::string_view body(reinterpret_cast<const char*>(data), size);
  for (const auto& m : models) {
    auto r = infer(*m, body);
    const auto& answer = r ? r->body : r.error().body;
    if (!json::parse(answer) || !text::utf8_valid(answer)) {
      std::fprintf(stderr, "%s\n", answer.c_str());
      std::abort();
    }
    if (!r && r.error().status != 400 && r.error().status != 422) std::abort();
    (void)infer(*m, body, body.size() / 2);  // binary tensors behind the first half
    auto v1 = predict_v1(*m, body);
    const auto& text = v1 ? *v1 : v1.error().body;
    if (!json::parse(text) || !text::utf8_valid(text) || (!v1 && v1.error().status != 400)) {
      std::fprintf(stderr, "%s\n", text.c_str());
      std::abort();
    }
  }
  return 0;
}
