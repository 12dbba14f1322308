#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "grpc/wire.h"
#include "json/parse.h"
#include "serving/onnx/exchange.h"
#include "serving/onnx/external_data.h"
#include "serving/onnx/locate.h"
#include "serving/python/wire.h"
#include "temp_dir.h"

namespace mr::serving::onnx {
namespace {

namespace fs = std::filesystem;

Port port(std::string name, Element type, std::vector<std::int64_t> shape) {
  return {std::move(name), Kind::tensor, type, std::move(shape)};
}

// The header and payload of a message of ours, as a worker reads them.
std::pair<boost::json::value, std::string> sent(const Frame& f, const Signature& s) {
  auto call = python::make_call(f, s);
  EXPECT_TRUE(call);
  auto message = python::encode({&*call}, 1);
  auto head = python::read_head(std::string_view(message).substr(0, python::kHeadBytes));
  auto doc = json::parse(message.substr(python::kHeadBytes, head->header));
  EXPECT_TRUE(doc);
  return {*doc, message.substr(python::kHeadBytes + head->header)};
}

Frame two_rows() {
  Frame f;
  f.rows = 2;
  f.columns = 2;
  f.data = {1, 2, 3, 4};
  f.names = {"a", "b"};
  return f;
}

template <class T>
std::vector<T> as(const std::string& bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

TEST(Onnx, ATableIsOneTensorOfRows) {
  auto [header, payload] = sent(two_rows(), {});
  auto feeds = feeds_of(header, payload, {port("x", Element::float32, {-1, 2})});
  ASSERT_TRUE(feeds);
  EXPECT_EQ((*feeds)[0].shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(as<float>((*feeds)[0].data), (std::vector<float>{1, 2, 3, 4}));
}

TEST(Onnx, EachInputHasItsColumn) {
  auto [header, payload] = sent(two_rows(), {});
  auto feeds = feeds_of(header, payload, {port("b", Element::int64, {-1, 1}), port("a", Element::float64, {-1})});
  ASSERT_TRUE(feeds);
  EXPECT_EQ((*feeds)[0].shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(as<std::int64_t>((*feeds)[0].data), (std::vector<std::int64_t>{2, 4}));
  EXPECT_EQ((*feeds)[1].shape, (std::vector<std::int64_t>{2}));
  EXPECT_EQ(as<double>((*feeds)[1].data), (std::vector<double>{1, 3}));
  auto missing = feeds_of(header, payload, {port("a", Element::float64, {-1}), port("c", Element::float64, {-1})});
  EXPECT_EQ(missing.error().code, Code::invalid_argument);
}

TEST(Onnx, NumbersThatATypeDoesNotHoldAreRefused) {
  auto f = two_rows();
  for (double bad : {0.5, 300.0, -1.0, std::nan(""), 1e300}) {
    f.data[0] = bad;
    auto [header, payload] = sent(f, {});
    EXPECT_FALSE(feeds_of(header, payload, {port("x", Element::uint8, {-1, 2})})) << bad;
  }
  f.data[0] = 9223372036854775808.0;
  auto [header, payload] = sent(f, {});
  EXPECT_FALSE(feeds_of(header, payload, {port("x", Element::int64, {-1, 2})}));
  EXPECT_TRUE(feeds_of(header, payload, {port("x", Element::uint64, {-1, 2})}));
  EXPECT_FALSE(feeds_of(header, payload, {port("x", Element::text, {-1, 2})}));
}

TEST(Onnx, HalvesAreRounded) {
  auto f = two_rows();
  f.data = {1, 65504, 65520, 5.9604644775390625e-08};
  auto [header, payload] = sent(f, {});
  auto feeds = feeds_of(header, payload, {port("x", Element::float16, {-1, 2})});
  ASSERT_TRUE(feeds);
  EXPECT_EQ(as<std::uint16_t>((*feeds)[0].data), (std::vector<std::uint16_t>{0x3C00, 0x7BFF, 0x7C00, 1}));
}

TEST(Onnx, RequestsThatLieAboutTheirSizeAreRefused) {
  auto [header, payload] = sent(two_rows(), {});
  EXPECT_FALSE(feeds_of(header, payload.substr(0, payload.size() - 1), {port("x", Element::float32, {-1, 2})}));
  auto rows = json::parse(R"({"id":1,"rows":1099511627776,"kind":"frame","columns":[{"name":"a","enc":"f8"}]})");
  EXPECT_FALSE(feeds_of(*rows, payload, {port("x", Element::float32, {-1, 2})}));
  auto shape = json::parse(R"({"id":1,"rows":2,"kind":"tensor","tensors":[{"name":"","enc":"f8","shape":[2,-1]}]})");
  EXPECT_FALSE(feeds_of(*shape, payload, {port("x", Element::float32, {-1, 2})}));
}

// The whole way back: what a graph gives, as the program reads it.
Result<Output> back(const std::vector<Port>& outputs, const std::vector<Value>& values, bool table) {
  MR_TRY(auto answered, answer_of(outputs, values, table));
  MR_TRY(auto answer, python::decode(R"({"id":1,)" + answered.members + "}", answered.payload));
  return answer.output;
}

Value numbers(std::vector<std::int64_t> shape, std::vector<double> v) {
  Value out;
  out.kind = Kind::tensor;
  out.type = Element::float32;
  out.shape = std::move(shape);
  out.numbers = std::move(v);
  return out;
}

Value labels(std::vector<std::int64_t> v) {
  Value out;
  out.kind = Kind::tensor;
  out.type = Element::int64;
  out.shape = {static_cast<std::int64_t>(v.size())};
  out.integers = std::move(v);
  return out;
}

TEST(Onnx, MapsBecomeJsonValues) {
  Value map;
  map.kind = Kind::map;
  map.items = {labels({0, 1}), numbers({2}, {0.25, 0.75})};
  Value list;
  list.kind = Kind::sequence;
  list.items = {map, map};
  std::vector<Port> outputs{port("label", Element::int64, {-1}), {"p", Kind::sequence, Element::none, {}}};
  for (bool table : {false, true}) {
    auto out = back(outputs, {labels({1, 1}), list}, table);
    ASSERT_TRUE(out) << out.error().message;
    EXPECT_EQ(out->form, table ? Output::Form::frame : Output::Form::dict);
    EXPECT_EQ(out->parts[1].texts[1], R"({"0":0.25,"1":0.75})");
    EXPECT_EQ(out->parts[1].content_type, "pd_json");
  }
}

TEST(Onnx, OutputsOfATableAreColumnsOrKeepTheirShapes) {
  std::vector<Port> outputs{port("a", Element::float32, {-1, 1}), port("b", Element::float32, {-1, 2})};
  auto even = back(outputs, {numbers({2, 1}, {1, 2}), numbers({1, 2}, {3, 4})}, true);
  ASSERT_TRUE(even);
  EXPECT_EQ(even->form, Output::Form::frame);
  EXPECT_EQ(even->parts[1].shape, (std::vector<std::int64_t>{2}));
  auto uneven = back(outputs, {numbers({2, 1}, {1, 2}), numbers({2, 2}, {3, 4, 5, 6})}, true);
  ASSERT_TRUE(uneven);
  EXPECT_EQ(uneven->form, Output::Form::dict);
  EXPECT_EQ(uneven->parts[1].shape, (std::vector<std::int64_t>{2, 2}));
}

TEST(Onnx, AModelOfFixedRowsIsNotJoined) {
  auto ready = [](std::vector<std::int64_t> shape) {
    auto members = ready_members("1.2.3", {port("x", Element::float32, std::move(shape))},
                                 {{"m", Kind::sequence, Element::none, {}}});
    return python::decode(R"({"id":0,)" + members + "}", "");
  };
  auto open = ready({-1, 4});
  ASSERT_TRUE(open);
  EXPECT_EQ(open->onnxruntime, "1.2.3");
  EXPECT_TRUE(open->joins);
  EXPECT_EQ(open->inputs[0].type, DataType::fp32);
  EXPECT_EQ(open->outputs[0].content_type, "pd_json");
  EXPECT_FALSE(ready({1, 4})->joins);
  EXPECT_FALSE(not_taken({{"s", Kind::sequence, Element::none, {}}}, {port("y", Element::float32, {})}).empty());
}

// A model with one tensor, which names a file; `wrap` puts it where tensors can be.
std::string model_of(std::string_view location, int place) {
  auto message = [](auto write) {
    std::string out;
    grpc::Writer w(out);
    write(w);
    return out;
  };
  auto pair = [&](std::string_view k, std::string_view v) {
    return message([&](grpc::Writer& w) {
      w.bytes(1, k);
      w.bytes(2, v);
    });
  };
  auto tensor = message([&](grpc::Writer& w) {
    w.bytes(8, "matrix");
    w.bytes(13, pair("offset", "0"));
    w.bytes(13, pair("location", location));
  });
  auto one = [&](std::uint32_t field, const std::string& inner) {
    return message([&](grpc::Writer& w) { w.bytes(field, inner); });
  };
  switch (place) {
    case 0:  // an initializer
      return one(7, one(5, tensor));
    case 1:  // a sparse one
      return one(7, one(15, one(1, tensor)));
    case 2:  // an attribute of a node
      return one(7, one(1, one(5, one(5, tensor))));
    case 3:  // in a graph that is an attribute
      return one(7, one(1, one(5, one(6, one(5, tensor)))));
    case 4:  // of a function
      return one(7, "") + one(25, one(7, one(5, one(10, tensor))));
    default:  // of what trains it
      return one(7, "") + one(20, one(1, one(5, tensor)));
  }
}

TEST(Onnx, FilesThatTensorsNameAreFoundEverywhere) {
  for (int place = 0; place < 6; ++place) {
    auto paths = external_paths(model_of("weights.bin", place));
    ASSERT_TRUE(paths) << place;
    EXPECT_EQ(*paths, std::vector<std::string>{"weights.bin"}) << place;
  }
  EXPECT_FALSE(external_paths("no model"));
  EXPECT_FALSE(external_paths(""));
  auto whole = model_of("weights.bin", 3);
  for (std::size_t n = 1; n < whole.size(); ++n) EXPECT_FALSE(external_paths(whole.substr(0, n))) << n;
}

TEST(Onnx, FilesThatTensorsNameMustLieInTheFolder) {
  testing::TempDir temp;
  const fs::path root(temp.path());
  fs::create_directories(root / "model");
  std::ofstream(root / "secret") << "s";
  std::ofstream(root / "model" / "weights.bin") << "w";
  fs::create_symlink("../secret", root / "model" / "link");
  auto check = [&](std::string_view location) {
    auto file = root / "model" / "model.onnx";
    std::ofstream(file, std::ios::binary) << model_of(location, 0);
    return check_external_data(file.string());
  };
  EXPECT_TRUE(check("weights.bin"));
  for (std::string bad : {"../secret", "link", "/etc/hostname", "", ".", "nothing", "*/_ORT_MEM_ADDR_/*"}) {
    auto r = check(bad);
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().code, Code::data_loss);
  }
}

TEST(Onnx, ModelsAreFound) {
  testing::TempDir temp;
  const fs::path root(temp.path());
  auto touch = [&](const fs::path& p) {
    fs::create_directories((root / p).parent_path());
    std::ofstream(root / p) << "x";
    return (root / p).string();
  };
  auto found = [](const fs::path& p) {
    auto r = find_model(p.string());
    return r && *r ? (*r)->file : std::string();
  };
  EXPECT_EQ(found(touch("bare/some.onnx")), "some.onnx");
  EXPECT_EQ(found(root / "bare"), "some.onnx");
  touch("bare/other.onnx");
  EXPECT_EQ(found(root / "bare"), "");
  touch("bare/model.onnx");
  EXPECT_EQ(found(root / "bare"), "model.onnx");
  touch("triton/2/model.onnx");
  touch("triton/10/model.onnx");
  touch("triton/11/readme");
  auto versioned = find_model((root / "triton").string());
  ASSERT_TRUE(versioned && *versioned);
  EXPECT_TRUE((*versioned)->folder.ends_with("/triton/10"));
  EXPECT_EQ(found(touch("pickle/model.pkl")), "");
  touch("mlflow/model.onnx");
  std::ofstream(root / "mlflow" / "MLmodel") << "flavors:\n  python_function:\n    loader_module: mlflow.onnx\n"
                                                "  onnx:\n    data: ../bare/some.onnx\n";
  EXPECT_FALSE(find_model((root / "mlflow").string()));
  std::ofstream(root / "mlflow" / "MLmodel")
      << "flavors:\n  python_function:\n    loader_module: mlflow.onnx\n  onnx:\n    data: model.onnx\n"
         "    onnx_session_options: {intra_op_num_threads: 3}\n";
  auto described = find_model((root / "mlflow").string());
  ASSERT_TRUE(described && *described);
  EXPECT_TRUE((*described)->described);
  EXPECT_EQ((*described)->options.at("intra_op_num_threads"), "3");
}

TEST(Onnx, TheLibraryIsFound) {
  testing::TempDir temp;
  const fs::path root(temp.path());
  EXPECT_FALSE(library_at(root.string()));
  for (auto name : {"libonnxruntime.so.1.9.0", "libonnxruntime.so.1.20.1", "libonnxruntime.so.1.x"})
    std::ofstream(root / name) << "x";
  EXPECT_TRUE(library_at(root.string())->ends_with("/libonnxruntime.so.1.20.1"));
  EXPECT_TRUE(asks_for_onnxruntime("numpy==1\nonnxruntime==1.20\n"));
  EXPECT_TRUE(asks_for_onnxruntime("onnxruntime"));
  EXPECT_FALSE(asks_for_onnxruntime("onnxruntime-gpu==1.20\nonnx==1"));
}

}  // namespace
}  // namespace mr::serving::onnx
