// V1 requests on a model that adds its two columns up.
#include "serving/v1.h"

namespace mr::serving {
namespace {

class Adder final : public Engine {
 public:
  explicit Adder(std::size_t width = 1) : width_(width) {}
  [[nodiscard]] Result<Output> predict(const Frame& f) const override {
    Output o;
    o.type = width_ == 1 ? DataType::int64 : DataType::fp64;
    o.rows = f.rows;
    o.width = width_;
    for (std::size_t r = 0; r < f.rows; ++r) {
      double a = f.data[r * 2], b = f.data[r * 2 + 1];
      if (std::isnan(a + b))
        return fail(Code::invalid_argument,
                    std::isnan(a) ? "column #0 has a missing value" : "column #1 has a missing value");
      o.numbers.push_back(a + b);
      if (width_ == 2) o.numbers.push_back(a - b);
    }
    return o;
  }
  [[nodiscard]] std::size_t features() const override { return 2; }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override {
    static const std::vector<std::string> names{"x", "y"};
    return names;
  }
  [[nodiscard]] std::string description() const override { return "adder"; }

 private:
  std::size_t width_;
};

Model model(std::size_t width = 1) {
  LoadedModel loaded;
  loaded.engine = std::make_unique<Adder>(width);
  metrics::Labels labels{{"model", "v1-test"}};
  return Model{"m",
               "",
               "",
               std::move(loaded),
               {},
               {},
               metrics::counter("v1_test_ok", "", labels),
               metrics::counter("v1_test_bad", "", labels),
               metrics::duration_histogram("v1_test_s", "", labels)};
}

std::string ask(const Model& m, std::string_view body) {
  auto r = predict_v1(m, body);
  return r ? *r : fmt::format("{} {}", r.error().status, r.error().body);
}

TEST(V1, InstancesAsListsAndObjects) {
  auto m = model();
  EXPECT_EQ(ask(m, R"({"instances":[[1,2],[3,4.0]]})"), R"({"predictions":[3,7]})");
  EXPECT_EQ(ask(m, R"({"inputs":[[1,2]]})"), R"({"predictions":[3]})");
  EXPECT_EQ(ask(m, R"({"instances":[{"y":10,"x":1},{"x":"2","y":true}]})"), R"({"predictions":[11,3]})");
  EXPECT_EQ(ask(m, R"({"instances":[{"x":[1,2],"y":[3,4]}]})"), R"({"predictions":[4,6]})");
  EXPECT_EQ(ask(model(2), R"({"instances":[[1,2]]})"), R"({"predictions":[[3.0,-1.0]]})");
}

TEST(V1, RefusesWithAnErrorText) {
  auto m = model();
  EXPECT_EQ(ask(m, "{"), R"(400 {"error":"Unrecognized request format: the body is no valid JSON"})");
  EXPECT_EQ(ask(m, R"({"instances":{}})"), R"(400 {"error":"Expected \"instances\" to be a list"})");
  for (const char* body : {"[]", "{}", R"({"instances":[]})", R"({"instances":[1,2]})", R"({"instances":[[1]]})",
                           R"({"instances":[[1,2],[3]]})", R"({"instances":[["a",1]]})", R"({"instances":[[[1],2]]})",
                           R"({"instances":[{"x":1}]})", R"({"instances":[{"x":[1,2],"y":[1]}]})",
                           R"({"instances":[{"x":[1],"y":[1,2]}]})", R"({"instances":[[1,2,3],{"x":1,"y":2}]})",
                           R"({"instances":[{"x":1,"y":2},[1,2,3]]})"})
    EXPECT_TRUE(ask(m, body).starts_with("400 ")) << body << ask(m, body);
  EXPECT_EQ(ask(m, R"({"instances":[[1,null]]})"), R"(400 {"error":"column 'y' has a missing value"})");
}

// Two arrays of a row each, as the probabilities of two outputs.
class Outputs final : public Engine {
 public:
  [[nodiscard]] Result<Output> predict(const Frame& f) const override {
    Output o;
    o.form = Output::Form::arrays;
    for (const char* name : {"output-1", "output-2"}) {
      OutputPart p;
      p.name = name;
      p.content_type = "np";
      p.shape = {static_cast<std::int64_t>(f.rows), 1};
      for (std::size_t r = 0; r < f.rows; ++r) p.numbers.push_back(f.data[r * 2 + o.parts.size()]);
      o.parts.push_back(std::move(p));
    }
    return o;
  }
  [[nodiscard]] std::size_t features() const override { return 2; }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override {
    static const std::vector<std::string> none;
    return none;
  }
  [[nodiscard]] std::string description() const override { return "outputs"; }
};

TEST(V1, SeveralOutputsAreAListOfArraysThatIsNotTakenApartByRows) {
  auto m = model();
  bool by_rows = false;
  boost::json::array rows{{1, 2}, {3, 4}};
  EXPECT_EQ(predict_rows(m, rows, &by_rows).value_or(""), "[3,7]");
  EXPECT_TRUE(by_rows);
  m.loaded.engine = std::make_unique<Outputs>();
  EXPECT_EQ(predict_rows(m, rows, &by_rows).value_or(""), "[[[1.0],[3.0]],[[2.0],[4.0]]]");
  EXPECT_FALSE(by_rows);
}

}  // namespace
}  // namespace mr::serving
