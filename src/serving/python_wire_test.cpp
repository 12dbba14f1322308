#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "json/parse.h"
#include "serving/check.h"
#include "serving/columns.h"
#include "serving/load.h"
#include "serving/parts.h"
#include "serving/python/environment.h"
#include "serving/python/wire.h"
#include "temp_dir.h"

namespace mr::serving::python {
namespace {

Signature columns(std::vector<std::pair<std::string, std::string>> list) {
  Signature s;
  s.present = true;
  for (auto& [name, type] : list)
    s.columns.push_back({name, type, type == "string" ? DataType::bytes : DataType::fp64, true});
  return s;
}

std::string doubles(std::vector<double> v) { return {reinterpret_cast<const char*>(v.data()), v.size() * 8}; }

std::pair<boost::json::value, std::string> opened(const std::string& message) {
  auto head = read_head(std::string_view(message).substr(0, kHeadBytes));
  EXPECT_TRUE(head);
  EXPECT_EQ(message.size(), kHeadBytes + head->header + head->payload);
  auto doc = json::parse(message.substr(kHeadBytes, head->header));
  EXPECT_TRUE(doc);
  return {*doc, message.substr(kHeadBytes + head->header)};
}

TEST(PythonWire, ARequestOfTheScoringProtocolTravelsWhole) {
  auto call = scoring_call("text/\"csv", "a,b\n1,2\n");
  auto [header, payload] = opened(encode({&call}, 3));
  EXPECT_EQ(json::string_or_empty(header, "kind"), "scoring");
  EXPECT_EQ(json::string_or_empty(header, "type"), "text/\"csv");
  EXPECT_EQ(payload, "a,b\n1,2\n");
  auto answer = decode(R"({"id":3,"ok":true,"form":"scored","status":400,"type":"json"})", R"({"message":"no"})");
  ASSERT_TRUE(answer && answer->scored);
  EXPECT_EQ(answer->scored->status, 400);
  EXPECT_TRUE(answer->scored->json);
  EXPECT_EQ(answer->scored->body, R"({"message":"no"})");
  EXPECT_FALSE(decode(R"({"id":3,"ok":true,"form":"scored","status":99,"type":"json"})", "x"));
  EXPECT_FALSE(decode(R"({"id":3,"ok":true,"form":"scored","type":"json"})", "x"));
  EXPECT_FALSE(decode(R"({"id":3,"ok":true,"form":"scored","status":200,"type":"text"})", "\xff"));
  auto ready = decode(R"({"id":0,"ok":true,"ready":true,"scores":true})", "");
  EXPECT_TRUE(ready && ready->scores);
}

TEST(PythonWire, ATableTravelsByColumns) {
  auto s = columns({{"x", "double"}, {"t", "string"}});
  Frame f;
  f.rows = 2;
  f.columns = 2;
  f.data = {1, std::nan(""), 2, std::nan("")};
  f.texts[1] = {{"ä", ""}, {0, 1}};
  f.params = R"({"k":1})";
  auto call = make_call(f, s);
  ASSERT_TRUE(call) << call.error().message;
  auto [header, payload] = opened(encode({&*call, &*call}, 7));
  EXPECT_EQ(
      json::serialize(header),
      R"({"id":7,"rows":4,"params":{"k":1},"texts":"inferred","kind":"frame","columns":[{"name":"x","type":"double","enc":"f8"},)"
      R"({"name":"t","type":"string","enc":"text"}]})");
  const std::uint32_t offsets[] = {0, 2, 2, 4, 4};
  EXPECT_EQ(payload, doubles({1, 2, 1, 2}) + std::string(reinterpret_cast<const char*>(offsets), sizeof offsets) +
                         "ää" + std::string("\0\1\0\1", 4));
}

TEST(PythonWire, ColumnsThatAreLeftOutStayOut) {
  auto s = columns({{"x", "double"}, {"y", "double"}});
  Frame f;
  f.rows = 1;
  f.columns = 2;
  f.data = {1, std::nan("")};
  f.absent = {1};
  auto call = make_call(f, s);
  ASSERT_TRUE(call);
  auto [header, payload] = opened(encode({&*call}, 1));
  EXPECT_EQ(payload, doubles({1}));
}

TEST(PythonWire, TensorsOfOneRowAreJoined) {
  Signature s;
  s.present = s.tensor = true;
  s.tensor_dtype = "float32";
  s.tensor_shape = {-1, 1, 2};
  Frame f;
  f.rows = 1;
  f.columns = 2;
  f.data = {1, 2};
  f.shape = {1, 1, 2};
  auto call = make_call(f, s);
  ASSERT_TRUE(call);
  auto [header, payload] = opened(encode({&*call, &*call, &*call}, 1));
  EXPECT_EQ(json::serialize(*json::find(header, "tensors")),
            R"([{"name":"","type":"float32","enc":"f8","shape":[3,1,2]}])");
  EXPECT_EQ(payload, doubles({1, 2, 1, 2, 1, 2}));
}

TEST(PythonWire, NumbersForAColumnOfTextsAreRefused) {
  auto s = columns({{"t", "string"}});
  Frame f;
  f.rows = f.columns = 1;
  f.data = {3};
  auto call = make_call(f, s);
  ASSERT_FALSE(call);
  EXPECT_NE(call.error().message.find("#0"), std::string::npos);
}

std::string answer(const std::string& arrays, const std::string& form = "array") {
  return R"({"id":1,"ok":true,"form":")" + form + R"(","arrays":[)" + arrays + "]}";
}

TEST(PythonWire, AnswersAreReadAndCut) {
  auto a =
      decode(answer(R"({"name":"","type":"FP64","codec":"np","shape":[3,2],"enc":"f8"})"), doubles({1, 2, 3, 4, 5, 6}));
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_EQ(a->output.rows, 3U);
  EXPECT_EQ(a->output.width, 2U);
  auto cut = split(a->output, {1, 2});
  ASSERT_TRUE(cut);
  EXPECT_EQ((*cut)[1].numbers, (std::vector<double>{3, 4, 5, 6}));
  EXPECT_FALSE(split(a->output, {1, 1}));
  // 2^60 is no double's neighbour: the integers stay as they are.
  std::int64_t big = (std::int64_t{1} << 60) + 1;
  std::string raw(reinterpret_cast<const char*>(&big), 8);
  a = decode(answer(R"({"name":"","type":"INT64","codec":"np","shape":[1],"enc":"i8"})"), raw);
  ASSERT_TRUE(a);
  ASSERT_EQ(a->output.parts.size(), 1U);
  EXPECT_EQ(a->output.parts[0].integers[0], big);
  std::string text;
  append_predictions(text, a->output);
  EXPECT_EQ(text, "[1152921504606846977]");
}

TEST(PythonWire, ATableIsAListOfRecords) {
  const std::uint32_t offsets[] = {0, 1, 3};
  auto payload = doubles({1, 0}) + std::string(reinterpret_cast<const char*>(offsets), sizeof offsets) + "abc" +
                 std::string(2, '\0');
  auto a = decode(answer(R"({"name":"b","type":"BOOL","codec":"","shape":[2],"enc":"f8"},)"
                         R"({"name":"t","type":"BYTES","codec":"str","shape":[2],"enc":"text"})",
                         "frame"),
                  payload);
  ASSERT_TRUE(a) << a.error().message;
  std::string text;
  append_predictions(text, a->output);
  EXPECT_EQ(text, R"([{"b":true,"t":"a"},{"b":false,"t":"bc"}])");
  auto cut = split(a->output, {1, 1});
  ASSERT_TRUE(cut);
  text.clear();
  append_predictions(text, (*cut)[1]);
  EXPECT_EQ(text, R"([{"b":false,"t":"bc"}])");
}

TEST(PythonWire, WhatAWorkerCannotMeanIsRefused) {
  EXPECT_FALSE(read_head("MRW1"));
  EXPECT_FALSE(read_head("garbage garbage!"));
  EXPECT_FALSE(read_head("MRW1\xFF\xFF\xFF\xFF\0\0\0\0\0\0\0\0"));
  const std::string eight(8, '\0');
  for (
      const auto& [header, payload] : std::vector<std::pair<std::string, std::string>>{
          {"", ""},
          {"[]", ""},
          {R"({"id":-1,"ok":true})", ""},
          {answer(""), ""},
          {answer(R"({"name":"","type":"FP64","codec":"np","shape":[2],"enc":"f8"})"), eight},
          {answer(R"({"name":"","type":"FP64","codec":"np","shape":[1],"enc":"f8"})"), eight + "x"},
          {answer(R"({"name":"","type":"FP64","codec":"np","shape":[-1],"enc":"f8"})"), eight},
          {answer(R"({"name":"","type":"FP64","codec":"np","shape":[4294967295,4294967295,4294967295],"enc":"f8"})"),
           eight},
          {answer(R"({"name":"","type":"FP64","codec":"np","shape":[4294967295,0],"enc":"f8"})"), ""},
          {answer(R"({"name":"","type":"FP64","codec":"np","shape":[1],"enc":"i8"})"), eight},
          {answer(R"({"name":"","type":"BYTES","codec":"np","shape":[1],"enc":"f8"})"), eight},
          {answer(R"({"name":"","type":"BYTES","codec":"np","shape":[1],"enc":"text"})"),
           std::string("\0\0\0\0\7\0\0\0", 8)},
          {answer(R"({"name":"","type":"BYTES","codec":"np","shape":[1],"enc":"text"})"),
           std::string("\0\0\0\0\1\0\0\0\xFF\0", 10)},
          {answer(R"({"name":"","type":"BYTES","codec":"pd_json","shape":[1],"enc":"text"})", "list"),
           std::string("\0\0\0\0\1\0\0\0{\0", 10)},
          {answer(
               R"({"name":"a","type":"FP64","codec":"","shape":[1],"enc":"f8"},{"name":"b","type":"FP64","codec":"","shape":[0],"enc":"f8"})",
               "frame"),
           eight},
      }) {
    auto a = decode(header, payload);
    EXPECT_FALSE(a) << header;
    if (!a) {
      EXPECT_EQ(a.error().code, Code::data_loss);
    }
  }
}

TEST(PythonAnswers, FloatsOf32BitsAreWrittenAsPythonDoes) {
  Output o;
  o.form = Output::Form::frame;
  o.parts.push_back({"x", "", DataType::fp32, {1}, {static_cast<double>(0.1F)}, {}, {}});
  std::string scoring, v1;
  append_predicted(scoring, o, true);
  append_predicted(v1, o, false);
  EXPECT_EQ(scoring, R"([{"x":0.10000000149011612}])");
  EXPECT_EQ(v1, R"([{"x":0.1}])");
}

void write(const std::filesystem::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

TEST(PythonEnvironment, FilesOfAModel) {
  mr::testing::TempDir dir;
  std::filesystem::path folder(dir.path());
  EXPECT_FALSE(read_environment(folder.string()));
  write(folder / "conda.yaml",
        "dependencies:\n- python=3.10.4\n- pip<=23\n- numpy=1.26.4=py_0\n- pip:\n  - mlflow==2.10.2\n  - a>=1 # why\n");
  auto e = read_environment(folder.string());
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(e->python, "3.10.4");
  EXPECT_EQ(e->requirements, "numpy==1.26.4\nmlflow==2.10.2\na>=1\n");
  write(folder / "python_env.yaml",
        "python: 3.11.7\nbuild_dependencies:\n- pip==26\ndependencies:\n- -r requirements.txt\n");
  write(folder / "requirements.txt", "# a list\nmlflow==3.17.2\n\nscikit-learn\n");
  e = read_environment(folder.string());
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(e->python, "3.11.7");
  EXPECT_EQ(e->requirements, "mlflow==3.17.2\nscikit-learn\n");
  EXPECT_EQ(e->count, 2U);
  for (auto bad : {"-r /etc/passwd", "--config-settings x", "-e .", "./here", "file:///tmp/x", "/tmp/x.whl", "../x.whl",
                   "x @ file:///tmp/x"}) {
    write(folder / "requirements.txt", bad);
    EXPECT_FALSE(read_environment(folder.string())) << bad;
  }
  // Lists beside the first one: MLflow itself writes constraints so.
  write(folder / "constraints.txt", "numpy<3 # old\n-r more.txt\n");
  write(folder / "requirements.txt", "mlflow\n-c constraints.txt\n");
  EXPECT_FALSE(read_environment(folder.string()));
  write(folder / "constraints.txt", "numpy<3 # old\nhttpx<1\n");
  e = read_environment(folder.string());
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(e->requirements, "mlflow\n#constraint numpy<3\n#constraint httpx<1\n");
  EXPECT_EQ(e->count, 1U);
  // A few lines that name a long list many times would fill the memory.
  std::string lines, names;
  for (int i = 0; i < 1500; ++i) lines += "a<2\n";
  write(folder / "constraints.txt", lines);
  EXPECT_TRUE(read_environment(folder.string()));
  write(folder / "requirements.txt", "mlflow\n-c constraints.txt\n-c constraints.txt\n");
  EXPECT_FALSE(read_environment(folder.string()));
  write(folder / "constraints.txt", "");
  for (int i = 0; i < 100; ++i) names += "-c constraints.txt\n";
  write(folder / "requirements.txt", "mlflow\n" + names);
  EXPECT_FALSE(read_environment(folder.string()));
  write(folder / "more.txt", "b; python_version < '3.12'\n");
  write(folder / "requirements.txt", "a\n--requirement=more.txt\n");
  e = read_environment(folder.string());
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(e->requirements, "a\nb; python_version < '3.12'\n");
  write(folder / "requirements.txt", "-c gone.txt");
  EXPECT_FALSE(read_environment(folder.string()));
  // Wheels that lie in the folder are known by their content.
  std::filesystem::create_directory(folder / "wheels");
  write(folder / "wheels" / "own-1.0-py3-none-any.whl", "one");
  write(folder / "requirements.txt", "wheels/own-1.0-py3-none-any.whl");
  auto one = read_environment(folder.string());
  ASSERT_TRUE(one) << one.error().message;
  write(folder / "wheels" / "own-1.0-py3-none-any.whl", "two");
  EXPECT_NE(read_environment(folder.string())->requirements, one->requirements);
}

TEST(CheckBeforeTraffic, DifferencesNameRowsAndNumbers) {
  auto parse = [](std::string_view t) { return *json::parse(t); };
  EXPECT_EQ(differences(parse("[1, 2.0000000001, null]"), parse("[1, 2, null]"), 1e-6), "");
  EXPECT_EQ(differences(parse("[[1], [2]]"), parse("[1, 2]"), 1e-6), "");
  EXPECT_EQ(differences(parse("[1, 3]"), parse("[1, 2]"), 1e-6), "1 value differs: row 1: 3 here, 2 expected");
  EXPECT_NE(differences(parse("[1]"), parse("[1, 2]"), 1e-6), "");
  EXPECT_NE(differences(parse(R"([{"a":1}])"), parse(R"([{"a":2}])"), 1e-6).find("row 0, a"), std::string::npos);
  EXPECT_NE(differences(parse(R"(["x"])"), parse(R"(["y"])"), 1e-6), "");
}

TEST(CheckBeforeTraffic, WhatPythonMayServe) {
  EXPECT_TRUE(may_be_served_elsewhere(Error{Code::unimplemented, "", "", ""}));
  EXPECT_TRUE(may_be_served_elsewhere(Error{Code::invalid_argument, "", "symbol", "own_steps.Ratio"}));
  for (auto name : {"os.system", "posix.system", "builtins.eval", "subprocess.Popen", "__builtin__.exec"})
    EXPECT_FALSE(may_be_served_elsewhere(Error{Code::invalid_argument, "", "symbol", name})) << name;
  EXPECT_FALSE(may_be_served_elsewhere(Error{Code::invalid_argument, "", "", ""}));
}

}  // namespace
}  // namespace mr::serving::python
