// V2 requests on a model that tells what frame it was given: text columns, codecs, binary tensors.
#include "serving/v2.h"

#include <cstring>

#include "json/parse.h"
#include "serving/v1.h"
#include "serving/v2_request.h"

namespace mr::serving {
namespace {

// One text a row: its cells in order, texts in quotes, missing ones as "-"; names and precision in front.
class Teller final : public Engine {
 public:
  explicit Teller(std::size_t features = 0) : features_(features) {}
  [[nodiscard]] Result<Output> predict(const Frame& f) const override {
    Output o;
    o.type = DataType::bytes;
    o.rows = f.rows;
    for (std::size_t r = 0; r < f.rows; ++r) {
      std::string row;
      for (std::size_t c = 0; c < f.columns; ++c) {
        if (!row.empty()) row += ' ';
        if (!f.names.empty()) row += f.names[c] + "=";
        double v = f.data[r * f.columns + c];
        if (auto t = f.texts.find(c); t != f.texts.end()) {
          if (!std::isnan(v)) return fail(Code::internal, "the cell of a text is no NaN");
          row += t->second.missing[r] != 0 ? "-" : "'" + t->second.values[r] + "'";
        } else {
          row += std::isnan(v) ? "-" : fmt::format("{}", v);
        }
      }
      o.texts.push_back(row + (f.f32 ? " f32" : ""));
    }
    return o;
  }
  [[nodiscard]] std::size_t features() const override { return features_; }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override {
    static const std::vector<std::string> none;
    return none;
  }
  [[nodiscard]] std::string description() const override { return "teller"; }

 private:
  std::size_t features_;
};

// Doubles each number; its type is the wanted one.
class Doubler final : public Engine {
 public:
  explicit Doubler(DataType type) : type_(type) {}
  [[nodiscard]] Result<Output> predict(const Frame& f) const override {
    Output o;
    o.type = type_;
    o.rows = f.rows;
    o.width = f.columns;
    for (double v : f.data) o.numbers.push_back(2 * v);
    return o;
  }
  [[nodiscard]] std::size_t features() const override { return 2; }
  [[nodiscard]] const std::vector<std::string>& feature_names() const override {
    static const std::vector<std::string> none;
    return none;
  }
  [[nodiscard]] std::string description() const override { return "doubler"; }

 private:
  DataType type_;
};

Model model_of(std::unique_ptr<Engine> engine, std::vector<Column> columns = {}) {
  LoadedModel loaded;
  loaded.engine = std::move(engine);
  loaded.signature.present = !columns.empty();
  loaded.signature.columns = std::move(columns);
  return Model{.name = "m",
               .loaded = std::move(loaded),
               .success = metrics::counter("v2_test_ok", ""),
               .failure = metrics::counter("v2_test_bad", ""),
               .seconds = metrics::duration_histogram("v2_test_s", "")};
}

Model people() {
  return model_of(std::make_unique<Teller>(), {{"name", "string", DataType::bytes},
                                               {"age", "long", DataType::int64},
                                               {"photo", "binary", DataType::bytes, false},
                                               {"born", "datetime", DataType::bytes, false}});
}

std::string told(const Model& m, std::string_view body) {
  auto r = infer(m, body);
  if (!r) return fmt::format("{} {}", r.error().status, r.error().body);
  auto at = r->body.find("\"data\":");
  return r->body.substr(at + 7, r->body.size() - at - 10);
}

std::string told_v1(const Model& m, std::string_view body) {
  auto r = predict_v1(m, body);
  return r ? *r : fmt::format("{} {}", r.error().status, r.error().body);
}

TEST(V2Texts, ColumnsOfTextBesideNumbers) {
  auto m = people();
  EXPECT_EQ(told(m, R"({"inputs":[
      {"name":"age","datatype":"INT64","shape":[2,1],"data":[[7],[8]]},
      {"name":"name","datatype":"BYTES","shape":[2],"data":["Ann",null]},
      {"name":"photo","datatype":"BYTES","shape":[2],"data":["aGVsbG8=","not base64"]},
      {"name":"born","datatype":"BYTES","shape":[2],"data":["2024-01-02T03:04:05","2024-01-02"]}]})"),
            R"(["name='Ann' age=7 photo='hello' born='2024-01-02T03:04:05'",)"
            R"("name=- age=8 photo='not base64' born='2024-01-02'"])");
  // What is optional may be left out.
  EXPECT_EQ(told(m, R"({"inputs":[{"name":"name","datatype":"BYTES","shape":[1],"data":["Bob"]},
                                  {"name":"age","datatype":"INT64","shape":[1],"data":[1]}]})"),
            R"(["name='Bob' age=1 photo=- born=-"])");
  // Numbers among texts become what Python prints.
  EXPECT_EQ(
      told(m, R"({"inputs":[{"name":"name","datatype":"BYTES","shape":[3],"data":[5,1.5,true]},
                                  {"name":"age","datatype":"INT64","shape":[3],"data":[1,2,3]}]})"),
      R"(["name='5' age=1 photo=- born=-","name='1.5' age=2 photo=- born=-","name='True' age=3 photo=- born=-"])");
}

TEST(V2Texts, CodecsOfTheInput) {
  auto m = people();
  auto ask = [&](std::string_view codec, std::string_view data) {
    return told(m, fmt::format(R"({{"inputs":[{{"name":"name","datatype":"BYTES","shape":[-1],"data":{},
        "parameters":{{"content_type":"{}"}}}},{{"name":"age","datatype":"INT64","shape":[1],"data":[1]}}]}})",
                               data, codec));
  };
  EXPECT_EQ(ask("str", R"(["a"])"), R"(["name='a' age=1 photo=- born=-"])");
  EXPECT_EQ(ask("np", R"(["a"])"), R"(["name='a' age=1 photo=- born=-"])");
  EXPECT_EQ(ask("base64", R"(["aGVsbG8="])"), R"(["name='hello' age=1 photo=- born=-"])");
  EXPECT_EQ(ask("pd_json", R"(["\"x\""])"), R"(["name='x' age=1 photo=- born=-"])");
  EXPECT_EQ(ask("pd_json", R"(["null"])"), R"(["name=- age=1 photo=- born=-"])");
  EXPECT_EQ(ask("datetime", R"(["2024-02-03 04:05:06.5+01:00"])"),
            R"(["name='2024-02-03 04:05:06.5+01:00' age=1 photo=- born=-"])");
  for (auto [codec, data] : {std::pair{"datetime", R"(["yesterday"])"},
                             {"pd_json", R"(["[1]"])"},
                             {"hg", R"(["a"])"},
                             {"str", R"([{"a":1}])"},
                             {"str", R"(["a","b"])"}})
    EXPECT_TRUE(ask(codec, data).starts_with("400 ")) << codec << data << ask(codec, data);
}

TEST(V2Texts, RefusesNumbersForTextsAndNamesTheColumn) {
  auto m = people();
  auto r = told(m, R"({"inputs":[{"name":"name","datatype":"FP64","shape":[1],"data":[1.0]},
                                 {"name":"age","datatype":"INT64","shape":[1],"data":[1]}]})");
  EXPECT_TRUE(r.starts_with("400 ")) << r;
  EXPECT_NE(r.find("name"), std::string::npos);
  EXPECT_NE(r.find("string"), std::string::npos);
  r = told(m, R"({"inputs":[{"name":"name","datatype":"BYTES","shape":[1],"data":["x"]},
                            {"name":"age","datatype":"BYTES","shape":[1],"data":["old"]}]})");
  EXPECT_TRUE(r.starts_with("400 ") && r.find("'age'") != std::string::npos && r.find("old") == std::string::npos) << r;
}

TEST(V2Texts, WithoutASignature) {
  auto m = model_of(std::make_unique<Teller>());
  EXPECT_EQ(told(m, R"({"parameters":{"content_type":"pd"},"inputs":[
      {"name":"a","datatype":"BYTES","shape":[2],"data":["x","1"]},
      {"name":"b","datatype":"BYTES","shape":[2],"data":["1","2.5"]},
      {"name":"c","datatype":"BYTES","shape":[2],"data":["1","2"],"parameters":{"content_type":"str"}}]})"),
            R"(["a='x' b=1 c='1'","a='1' b=2.5 c='2'"])");
  EXPECT_EQ(told(m, R"({"parameters":{"content_type":"np"},"inputs":[
      {"name":"a","datatype":"BYTES","shape":[2,2],"data":["x","y","z",null]}]})"),
            R"(["'x' 'y'","'z' -"])");
  EXPECT_EQ(told(m, R"({"parameters":{"content_type":"np"},"inputs":[
      {"name":"a","datatype":"BYTES","shape":[2],"data":["some words","more"]}]})"),
            R"(["'some words'","'more'"])");
}

TEST(V1Texts, ObjectsListsAndSingleTexts) {
  auto m = people();
  EXPECT_EQ(told_v1(m, R"({"instances":[{"age":3,"name":"Ann"},{"name":null,"age":4,"photo":"x"}]})"),
            R"({"predictions":["name='Ann' age=3 photo=- born=-","name=- age=4 photo='x' born=-"]})");
  EXPECT_EQ(told_v1(m, R"({"instances":[["Ann",3,null,null]]})"),
            R"({"predictions":["name='Ann' age=3 photo=- born=-"]})");
  auto free = model_of(std::make_unique<Teller>());
  EXPECT_EQ(told_v1(free, R"({"instances":["one text","another"]})"), R"({"predictions":["'one text'","'another'"]})");
  EXPECT_EQ(told_v1(free, R"({"instances":[["a",1],["2",2]]})"), R"({"predictions":["'a' 1","'2' 2"]})");
  EXPECT_TRUE(told_v1(m, R"({"instances":[{"name":"Ann"}]})").starts_with("400 "));
}

std::string doubles(std::initializer_list<double> values) {
  std::string out;
  for (double v : values) out.append(reinterpret_cast<const char*>(&v), sizeof v);
  return out;
}

TEST(V2Binary, InputsAndOutputs) {
  auto m = model_of(std::make_unique<Doubler>(DataType::fp32));
  std::string head =
      R"({"id":"i","parameters":{"content_type":"np","binary_data_output":true},"inputs":[{"name":"x","datatype":"FP64","shape":[1,2],"parameters":{"binary_data_size":16}}]})";
  auto r = infer(m, head + doubles({1.5, -2}), head.size());
  ASSERT_TRUE(r) << r.error().body;
  EXPECT_EQ(
      r->body.substr(0, r->json_size),
      R"({"model_name":"m","id":"i","parameters":{"content_type":"np"},"outputs":[{"name":"output-1","shape":[1,2],)"
      R"("datatype":"FP32","parameters":{"content_type":"np","binary_data_size":8}}]})");
  float out[2];
  ASSERT_EQ(r->body.size() - r->json_size, sizeof out);
  std::memcpy(out, r->body.data() + r->json_size, sizeof out);
  EXPECT_EQ(out[0], 3);
  EXPECT_EQ(out[1], -4);
}

TEST(V2Binary, OnlyWhatIsAskedFor) {
  auto m = model_of(std::make_unique<Doubler>(DataType::int64));
  std::string body =
      R"({"id":"i","parameters":{"content_type":"np","binary_data_output":true},"inputs":[{"name":"x","datatype":"FP64","shape":[1,2],"data":[1,2]}],"outputs":[{"name":"output-1","parameters":{"binary_data":false}}]})";
  auto r = infer(m, body);
  ASSERT_TRUE(r) << r.error().body;
  auto json = r->json_size == 0 ? r->body : r->body.substr(0, r->json_size);
  EXPECT_NE(json.find(R"("data":[2,4])"), std::string::npos) << json;
  EXPECT_TRUE(mr::json::parse(json));
}

TEST(V2Binary, RefusesSizesThatDoNotFit) {
  auto m = model_of(std::make_unique<Doubler>(DataType::fp64));
  auto ask = [&](std::string_view input, std::string_view raw) {
    auto head = fmt::format(R"({{"parameters":{{"content_type":"np"}},"inputs":[{}]}})", input);
    auto r = infer(m, head + std::string(raw), head.size());
    return r ? 200 : r.error().status;
  };
  auto raw = doubles({1, 2});
  EXPECT_EQ(ask(R"({"name":"x","datatype":"FP64","shape":[1,2],"parameters":{"binary_data_size":16}})", raw), 200);
  for (const char* input : {R"({"name":"x","datatype":"FP64","shape":[1,2],"parameters":{"binary_data_size":8}})",
                            R"({"name":"x","datatype":"FP64","shape":[1,2],"parameters":{"binary_data_size":24}})",
                            R"({"name":"x","datatype":"FP64","shape":[1,2],"parameters":{"binary_data_size":15}})",
                            R"({"name":"x","datatype":"FP64","shape":[1,2],"parameters":{"binary_data_size":-1}})",
                            R"({"name":"x","datatype":"FP64","shape":[1,3],"parameters":{"binary_data_size":16}})",
                            R"({"name":"x","datatype":"BYTES","shape":[1,2],"parameters":{"binary_data_size":16}})",
                            R"({"name":"x","datatype":"FP64","shape":[1,2],"data":[1,2]})"})
    EXPECT_EQ(ask(input, raw), 400) << input;
}

TEST(V2Binary, EveryDataType) {
  for (auto type :
       {DataType::boolean, DataType::uint8, DataType::uint16, DataType::uint32, DataType::uint64, DataType::int8,
        DataType::int16, DataType::int32, DataType::int64, DataType::fp16, DataType::fp32, DataType::fp64}) {
    OutputPart p;
    p.type = type;
    p.numbers = {0, 1, 1};
    auto raw = raw_of(p);
    Input in{.name = "x", .type = type};
    std::vector<double> back;
    ASSERT_TRUE(numbers_of_raw(in, "x", raw, back));
    EXPECT_EQ(back, p.numbers) << data_type_name(type);
  }
  OutputPart p;
  p.type = DataType::fp16;
  p.numbers = {-2.5, 65504, 6.103515625e-05, 5.9604644775390625e-08, 0.333251953125};
  std::vector<double> back;
  Input in{.name = "x", .type = DataType::fp16};
  ASSERT_TRUE(numbers_of_raw(in, "x", raw_of(p), back));
  EXPECT_EQ(back, p.numbers);
  OutputPart t;
  t.type = DataType::bytes;
  t.texts = {"", "a", std::string("\0b", 2)};
  TextColumn texts;
  ASSERT_TRUE(texts_of_raw("x", raw_of(t), texts));
  EXPECT_EQ(texts.values, t.texts);
  EXPECT_FALSE(texts_of_raw("x", "\x05\0\0", texts));
}

}  // namespace
}  // namespace mr::serving
