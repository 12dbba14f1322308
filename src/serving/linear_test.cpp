// The formulas of the linear engine and the V2 answers made with them; the trees are built here, as a reader would.
#include "serving/engines/linear.h"

#include "serving/v2.h"
#include "tree_maker.h"

namespace mr::serving {
namespace {

class LinearMaker : public TreeMaker {
 public:
  Result<std::unique_ptr<Engine>> engine(NodeId root, const std::string& fn = "predict",
                                         const std::string& version = "1.5.0") {
    t.root = root;
    return make_linear_engine(t, fn, version);
  }
};

std::vector<double> predict(const Result<std::unique_ptr<Engine>>& e, std::vector<double> data, std::size_t columns,
                            bool f32 = false) {
  if (!e) {
    ADD_FAILURE() << e.error().message;
    return {};
  }
  auto out = (*e)->predict({data.size() / columns, columns, data, f32});
  if (!out) {
    ADD_FAILURE() << out.error().message;
    return {};
  }
  return out->numbers;
}

constexpr const char* kLogistic = "sklearn.linear_model._logistic.LogisticRegression";

NodeId binary(LinearMaker& m, std::vector<std::pair<const char*, NodeId>> more = {}) {
  std::vector<std::pair<const char*, NodeId>> state{{"coef_", m.array({1, 2}, {2, -1})},
                                                    {"intercept_", m.array({1}, {0.5})},
                                                    {"classes_", m.array({2}, {10, 20}, 'i')}};
  state.insert(state.end(), more.begin(), more.end());
  return m.object(kLogistic, std::move(state));
}

TEST(Linear, BinaryLogistic) {
  LinearMaker m;
  auto e = m.engine(binary(m));
  EXPECT_EQ(predict(e, {1, 0, 0, 1, 0, 0.5}, 2),
            (std::vector<double>{20, 10, 10}));  // decisions 2.5, -0.5, and 0: a tie is the first class
  auto out = (*e)->predict({1, 2, {1, 0}});
  EXPECT_EQ(out->type, DataType::int64);
  EXPECT_EQ(out->width, 1U);
  LinearMaker p;
  auto probabilities = predict(p.engine(binary(p), "predict_proba"), {1, 0}, 2);
  ASSERT_EQ(probabilities.size(), 2U);
  EXPECT_NEAR(probabilities[1], 1 / (1 + std::exp(-2.5)), 1e-15);
  EXPECT_NEAR(probabilities[0] + probabilities[1], 1, 1e-15);
  LinearMaker l;
  EXPECT_NEAR(predict(l.engine(binary(l), "predict_log_proba"), {1, 0}, 2)[1], std::log(1 / (1 + std::exp(-2.5))),
              1e-15);
  LinearMaker s;  // multi_class='multinomial' with two classes is a softmax over (-d, d)
  EXPECT_NEAR(predict(s.engine(binary(s, {{"multi_class", s.text("multinomial")}}), "predict_proba"), {1, 0}, 2)[1],
              1 / (1 + std::exp(-5.0)), 1e-15);
  LinearMaker far;  // no overflow on either side
  auto extreme = predict(far.engine(binary(far), "predict_proba"), {1e6, 0, -1e6, 0}, 2);
  EXPECT_EQ(extreme, (std::vector<double>{0, 1, 1, 0}));
}

NodeId three(LinearMaker& m, const char* cls, std::vector<std::pair<const char*, NodeId>> more = {}) {
  std::vector<std::pair<const char*, NodeId>> state{{"coef_", m.array({3, 1}, {1, 2, -1})},
                                                    {"intercept_", m.array({3}, {0, 1, 0.5})},
                                                    {"classes_", m.texts({"a", "b", "c"})}};
  state.insert(state.end(), more.begin(), more.end());
  return m.object(cls, std::move(state));
}

TEST(Linear, ThreeClasses) {
  LinearMaker m;
  auto e = m.engine(three(m, kLogistic));
  auto out = (*e)->predict({3, 1, {1, -2, 0}});
  EXPECT_EQ(out->type, DataType::bytes);
  EXPECT_EQ(out->texts, (std::vector<std::string>{"b", "c", "b"}));
  LinearMaker p;
  auto soft = predict(p.engine(three(p, kLogistic), "predict_proba"), {1}, 1);
  double z = std::exp(1.0) + std::exp(3.0) + std::exp(-0.5);
  ASSERT_EQ(soft.size(), 3U);
  EXPECT_NEAR(soft[0], std::exp(1.0) / z, 1e-15);
  EXPECT_NEAR(soft[1], std::exp(3.0) / z, 1e-15);
  EXPECT_NEAR(soft[2], std::exp(-0.5) / z, 1e-15);
  LinearMaker o;
  auto ovr = predict(o.engine(three(o, kLogistic, {{"multi_class", o.text("ovr")}}), "predict_proba"), {1}, 1);
  auto expit = [](double d) { return 1 / (1 + std::exp(-d)); };
  double sum = expit(1) + expit(3) + expit(-0.5);
  EXPECT_NEAR(ovr[1], expit(3) / sum, 1e-15);
  LinearMaker big;
  auto large = predict(big.engine(three(big, kLogistic), "predict_proba"), {1e5}, 1);
  EXPECT_EQ(large, (std::vector<double>{0, 1, 0}));
}

TEST(Linear, WhichEstimatorsHaveProbabilities) {
  LinearMaker svc;
  auto r = svc.engine(three(svc, "sklearn.svm._classes.LinearSVC"), "predict_proba");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().message, "LinearSVC has no predict_proba");
  const char* sgd = "sklearn.linear_model._stochastic_gradient.SGDClassifier";
  LinearMaker hinge;
  EXPECT_FALSE(hinge.engine(three(hinge, sgd, {{"loss", hinge.text("hinge")}}), "predict_proba"));
  LinearMaker log;
  EXPECT_EQ(predict(log.engine(three(log, sgd, {{"loss", log.text("log_loss")}}), "predict_proba"), {1}, 1).size(), 3U);
  LinearMaker huber;  // (clip(d, -1, 1) + 1) / 2, and equal shares where all are 0
  auto p =
      predict(huber.engine(three(huber, sgd, {{"loss", huber.text("modified_huber")}}), "predict_proba"), {0.25}, 1);
  double total = 0.625 + 1 + 0.625;
  EXPECT_NEAR(p[0], 0.625 / total, 1e-15);
  EXPECT_NEAR(p[1], 1 / total, 1e-15);
  LinearMaker bad;
  EXPECT_FALSE(bad.engine(three(bad, kLogistic), "transform"));
}

TEST(Linear, Regressors) {
  LinearMaker m;
  EXPECT_EQ(predict(m.engine(m.object("sklearn.linear_model._ridge.Ridge",
                                      {{"coef_", m.array({2}, {0.5, -1})}, {"intercept_", m.real(3)}})),
                    {2, 1, 0, 0}, 2),
            (std::vector<double>{3, 3}));
  LinearMaker two;
  auto e =
      two.engine(two.object("sklearn.linear_model._base.LinearRegression",
                            {{"coef_", two.array({2, 2}, {1, 0, 0, 1})}, {"intercept_", two.array({2}, {10, 20})}}));
  EXPECT_EQ(predict(e, {1, 2, 3, 4}, 2), (std::vector<double>{11, 22, 13, 24}));
  EXPECT_EQ((*e)->predict({1, 2, {1, 2}})->width, 2U);
  LinearMaker none;  // fit_intercept=False gives one number for every row of coef_
  EXPECT_EQ(predict(none.engine(none.object("sklearn.linear_model._base.LinearRegression",
                                            {{"coef_", none.array({2, 1}, {1, 2})}, {"intercept_", none.real(0)}})),
                    {3}, 1),
            (std::vector<double>{3, 6}));
}

TEST(Linear, ScalersInPipelines) {
  LinearMaker m;
  auto scaler = m.object("sklearn.preprocessing._data.StandardScaler", {{"with_mean", m.boolean(true)},
                                                                        {"with_std", m.boolean(true)},
                                                                        {"mean_", m.array({2}, {1, 2})},
                                                                        {"scale_", m.array({2}, {2, 4})}});
  auto range =
      m.object("sklearn.preprocessing._data.MinMaxScaler", {{"scale_", m.array({2}, {0.5, 0.5})},
                                                            {"min_", m.array({2}, {0.5, 0.5})},
                                                            {"clip", m.boolean(true)},
                                                            {"feature_range", m.tuple({m.real(0), m.real(1)})}});
  auto model =
      m.object("sklearn.linear_model._ridge.Ridge", {{"coef_", m.array({2}, {1, 10})}, {"intercept_", m.real(0)}});
  auto steps = m.list({m.tuple({m.text("scale"), scaler}), m.tuple({m.text("nothing"), m.text("passthrough")}),
                       m.tuple({m.text("range"), range}), m.tuple({m.text("model"), model})});
  auto e = m.engine(m.object("sklearn.pipeline.Pipeline", {{"steps", steps}}));
  // (3-1)/2 = 1 -> 1; (2-2)/4 = 0 -> 0.5; (-9-1)/2 = -5 -> -2 clipped to 0
  EXPECT_EQ(predict(e, {3, 2, -9, 2}, 2), (std::vector<double>{6, 5}));
  EXPECT_EQ((*e)->description(), "native linear engine: Ridge behind 2 scalers");
}

TEST(Linear, FloatsStayFloats) {
  LinearMaker m;
  auto scaler = m.object("sklearn.preprocessing._data.StandardScaler",
                         {{"mean_", m.array({1}, {0.1})}, {"scale_", m.array({1}, {3})}});
  auto model = m.object("sklearn.linear_model._ridge.Ridge", {{"coef_", m.array({1}, {1})}, {"intercept_", m.real(0)}});
  auto steps = m.list({m.tuple({m.text("s"), scaler}), m.tuple({m.text("m"), model})});
  auto root = m.object("sklearn.pipeline.Pipeline", {{"steps", steps}});
  auto e = m.engine(root);
  auto x = static_cast<double>(0.7F);
  auto centred = static_cast<float>(x - 0.1);
  EXPECT_EQ(predict(e, {x}, 1, true)[0], static_cast<double>(static_cast<float>(static_cast<double>(centred) / 3)));
  EXPECT_EQ(predict(e, {x}, 1, false)[0], (x - 0.1) / 3);
  EXPECT_EQ((*e)->predict({1, 1, {x}, true})->type, DataType::fp64);  // the coefficients are doubles
}

TEST(Linear, RefusesInputsAndModelsThatDoNotFit) {
  LinearMaker m;
  auto e = m.engine(binary(m));
  auto error = [&](std::vector<double> data, std::size_t columns) {
    auto r = (*e)->predict({columns == 0 ? 0 : data.size() / columns, columns, data});
    return r ? "" : r.error().message;
  };
  EXPECT_EQ(error({1, 2, 3}, 3), "the input has 3 columns; the model was fitted with 2");
  EXPECT_NE(error({}, 2), "");
  EXPECT_EQ(error({1, 2, 3, std::nan("")}, 2),
            "column #1 has a missing (NaN) or infinite value, which this model does not take");
  EXPECT_NE(error({INFINITY, 2}, 2), "");

  auto refused = [](auto make) {
    LinearMaker t;
    auto r = t.engine(make(t));
    return r ? std::string() : r.error().message;
  };
  EXPECT_NE(refused([](LinearMaker& t) { return t.object(kLogistic, {}); }).find("is not fitted"), std::string::npos);
  EXPECT_NE(refused([](LinearMaker& t) {
              return t.object(kLogistic, {{"coef_", t.array({1, 2}, {1, 2})},
                                          {"intercept_", t.array({1}, {0})},
                                          {"classes_", t.array({3}, {1, 2, 3}, 'i')}});
            }),
            "");
  EXPECT_NE(refused([](LinearMaker& t) {
              return t.object(kLogistic, {{"coef_", t.array({1, 2}, {1, std::nan("")})},
                                          {"intercept_", t.array({1}, {0})},
                                          {"classes_", t.array({2}, {1, 2}, 'i')}});
            }),
            "");
  EXPECT_NE(refused([](LinearMaker& t) {
              return t.object(kLogistic, {{"coef_", t.array({1, 0}, {})},
                                          {"intercept_", t.array({1}, {0})},
                                          {"classes_", t.array({2}, {1, 2}, 'i')}});
            }),
            "");
  EXPECT_NE(refused([](LinearMaker& t) {
              return t.object(kLogistic, {{"coef_", t.array({2, 1}, {1, 2})},
                                          {"intercept_", t.array({3}, {0, 0, 0})},
                                          {"classes_", t.array({2}, {1, 2}, 'i')}});
            }),
            "");
  EXPECT_EQ(refused([](LinearMaker& t) { return t.object("sklearn.preprocessing._data.StandardScaler", {}); }),
            "the last step is StandardScaler, which does not predict");
  EXPECT_EQ(refused([](LinearMaker& t) { return t.text("x"); }), "the file does not hold an estimator");
  EXPECT_EQ(refused([](LinearMaker&) { return kNoNode; }), "the file does not hold an estimator");
  EXPECT_EQ(refused([](LinearMaker& t) { return t.object("sklearn.pipeline.Pipeline", {{"steps", t.list({})}}); }),
            "a Pipeline has no steps");
  EXPECT_NE(refused([](LinearMaker& t) {
              auto scaler = t.object("sklearn.preprocessing._data.StandardScaler",
                                     {{"mean_", t.array({3}, {0, 0, 0})}, {"scale_", t.array({3}, {1, 1, 1})}});
              return t.object("sklearn.pipeline.Pipeline",
                              {{"steps", t.list({t.tuple({t.text("s"), scaler}), t.tuple({t.text("m"), binary(t)})})}});
            }),
            "");
}

TEST(Linear, APipelineThatHoldsItselfEnds) {
  LinearMaker m;
  auto steps = m.list({});
  auto pipeline = m.object("sklearn.pipeline.Pipeline", {{"steps", steps}});
  auto pair = m.tuple({m.text("again"), pipeline});
  m.t.nodes[steps].items = {pair};
  auto r = m.engine(pipeline);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().message, "Pipelines are nested too deep");
}

// Each Pipeline holds the next four times: 65536 steps from ten objects, and a trillion from twenty. Depth alone does
// not bound the work; the number of steps must.
TEST(Linear, APipelineOfSharedPipelinesIsRefused) {
  LinearMaker m;
  auto next = m.object("sklearn.preprocessing._data.StandardScaler",
                       {{"with_mean", m.boolean(false)}, {"with_std", m.boolean(false)}});
  for (int i = 0; i < 8; ++i) {
    std::vector<NodeId> four(4, m.tuple({m.text("again"), next}));
    next = m.object("sklearn.pipeline.Pipeline", {{"steps", m.list(four)}});
  }
  auto root = m.object("sklearn.pipeline.Pipeline",
                       {{"steps", m.list({m.tuple({m.text("x"), next}), m.tuple({m.text("m"), binary(m)})})}});
  EXPECT_FALSE(m.engine(root));
}

TEST(DecodeBuffer, ReadsNumpysTypes) {
  using namespace std::string_view_literals;
  EXPECT_EQ(decode_buffer("<f8", {1}, false, "\0\0\0\0\0\0\xf8\x3f"sv)->numbers, std::vector<double>{1.5});
  EXPECT_EQ(decode_buffer(">f8", {1}, false, "\x3f\xf8\0\0\0\0\0\0"sv)->numbers, std::vector<double>{1.5});
  EXPECT_EQ(decode_buffer("<f4", {1}, false, "\0\0\xc0\x3f"sv)->numbers, std::vector<double>{1.5});
  EXPECT_EQ(decode_buffer("<f2", {5}, false, "\0\x3e\0\xc0\x01\0\0\x7c\xff\x7b"sv)->numbers,
            (std::vector<double>{1.5, -2, 5.9604644775390625e-08, INFINITY, 65504}));
  EXPECT_EQ(decode_buffer("<i2", {2}, false, "\xff\xff\x01\0"sv)->numbers, (std::vector<double>{-1, 1}));
  EXPECT_EQ(decode_buffer("|u1", {2}, false, "\xff\x01"sv)->numbers, (std::vector<double>{255, 1}));
  EXPECT_EQ(decode_buffer("|b1", {2}, false, "\0\x01"sv)->numbers, (std::vector<double>{0, 1}));
  EXPECT_EQ(decode_buffer("<U2", {2}, false, "a\0\0\0\0\0\0\0\xfc\0\0\0\x2d\x4e\0\0"sv)->texts,
            (std::vector<std::string>{"a", "\xC3\xBC\xE4\xB8\xAD"}));
  EXPECT_EQ(decode_buffer("|u1", {2, 3}, true, "\x01\x04\x02\x05\x03\x06"sv)->numbers,
            (std::vector<double>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(decode_buffer("|u1", {0, 3}, true, "")->numbers.size(), 0U);
  for (const char* bad : {"", "<", "<f3", "<c16", "<m8", "<f8x", "<f0", "<f-8", "|V8", "O"})
    EXPECT_FALSE(decode_buffer(bad, {1}, false, "12345678")) << bad;
  EXPECT_FALSE(decode_buffer("<f8", {2}, false, "12345678"));
  EXPECT_FALSE(decode_buffer("<f8", {-1}, false, "12345678"));
  EXPECT_FALSE(decode_buffer("<f8", {1LL << 40, 1LL << 40}, false, "12345678"));
  EXPECT_FALSE(decode_buffer("<f8", std::vector<std::int64_t>(40, 1), false, "12345678"));
}

// ---- the V2 answer ----

std::unique_ptr<Model> model(Result<std::unique_ptr<Engine>> engine) {
  auto m = std::unique_ptr<Model>(new Model{.name = "m",
                                            .success = metrics::counter("t_s", "t"),
                                            .failure = metrics::counter("t_f", "t"),
                                            .seconds = metrics::duration_histogram("t_h", "t")});
  m->loaded.engine = std::move(*engine);
  m->loaded.signature.present = true;
  m->loaded.signature.columns = {{"x", "double", DataType::fp64}, {"y", "long", DataType::int64}};
  return m;
}

TEST(Infer, AnswersAsTheSeedShows) {
  LinearMaker t;
  auto m = model(t.engine(binary(t)));
  auto r = infer(
      *m,
      R"({"id":"42","inputs":[{"name":"x","shape":[1,1],"datatype":"FP64","data":[1.0]},{"name":"y","shape":[1,1],"datatype":"INT64","data":[0]}]})");
  ASSERT_TRUE(r) << r.error().body;
  EXPECT_EQ(r->id, "42");
  EXPECT_EQ(
      r->body,
      R"({"model_name":"m","id":"42","parameters":{"content_type":"np"},"outputs":[{"name":"output-1","shape":[1,1],"datatype":"INT64","parameters":{"content_type":"np"},"data":[20]}]})");
  auto swapped = infer(
      *m,
      R"({"inputs":[{"name":"y","shape":[2],"datatype":"INT64","data":[[0],[3]]},{"name":"x","shape":[-1],"datatype":"FP32","data":["1",0]}]})");
  ASSERT_TRUE(swapped) << swapped.error().body;
  EXPECT_EQ(swapped->id.size(), 36U);
  EXPECT_NE(swapped->body.find("\"shape\":[2,1]"), std::string::npos);
  EXPECT_NE(swapped->body.find("\"data\":[20,10]"), std::string::npos);
}

TEST(Infer, RefusesWithAStatusAndAReason) {
  LinearMaker t;
  auto m = model(t.engine(binary(t)));
  auto refused = [&](std::string_view body) {
    auto r = infer(*m, body);
    return r ? std::string("200 ") + r->body : fmt::format("{} {}", r.error().status, r.error().body);
  };
  const std::string x = R"({"name":"x","shape":[1,1],"datatype":"FP64","data":[1.0]})";
  auto with_y = [&](std::string_view y) { return refused(fmt::format(R"({{"inputs":[{},{}]}})", x, y)); };
  EXPECT_TRUE(refused("").starts_with("422 "));
  EXPECT_TRUE(refused("{").starts_with("422 "));
  EXPECT_TRUE(refused("[]").starts_with("422 "));
  EXPECT_TRUE(refused("{}").starts_with("422 "));
  EXPECT_TRUE(refused(R"({"inputs":{}})").starts_with("422 "));
  EXPECT_TRUE(refused(R"({"inputs":[1]})").starts_with("422 "));
  EXPECT_TRUE(refused(R"({"id":5,"inputs":[]})").starts_with("422 "));
  EXPECT_TRUE(refused(std::string(100000, '[')).starts_with("422 "));
  EXPECT_EQ(refused(R"({"inputs":[]})"), R"(400 {"error":"Model is missing inputs ['x', 'y']."})");
  EXPECT_EQ(refused(fmt::format(R"({{"inputs":[{}]}})", x)), R"(400 {"error":"Model is missing inputs ['y']."})");
  EXPECT_TRUE(with_y(R"({"name":"y","shape":[1,1],"datatype":"INT99","data":[1]})").starts_with("422 "));
  EXPECT_TRUE(with_y(R"({"name":"y","shape":[2,1],"datatype":"INT64","data":[1]})").starts_with("400 "));
  EXPECT_TRUE(with_y(R"({"name":"y","shape":[2,1],"datatype":"INT64","data":[1,2]})").starts_with("400 "));
  EXPECT_TRUE(with_y(R"({"name":"y","shape":[9223372036854775807,9223372036854775807],"datatype":"INT64","data":[1]})")
                  .starts_with("400 "));
  EXPECT_TRUE(with_y(R"({"name":"y","shape":[-1,-1],"datatype":"INT64","data":[1]})").starts_with("400 "));
  EXPECT_TRUE(with_y(R"({"name":"y","shape":[1,1],"datatype":"INT64","data":[1.5]})").starts_with("400 "));
  EXPECT_TRUE(with_y(R"({"name":"y","shape":[1,1],"datatype":"INT64","data":[null]})").starts_with("400 "));
  EXPECT_TRUE(with_y(R"({"name":"y","shape":[1,1],"datatype":"INT64","data":[{}]})").starts_with("400 "));
  EXPECT_TRUE(with_y(R"({"name":"y","shape":[1,1],"datatype":"UINT8","data":[300]})").starts_with("400 "));
  auto bytes = with_y(R"({"name":"y","shape":[1,1],"datatype":"BYTES","data":["one"]})");
  EXPECT_TRUE(bytes.starts_with("400 ")) << bytes;
  EXPECT_TRUE(
      with_y(R"({"name":"y","shape":[1,1],"datatype":"INT64","data":[1],"parameters":{"content_type":"bogus"}})")
          .starts_with("400 "));
  // Columns by name, and no value of the request in the text.
  auto nan = refused(
      R"({"inputs":[{"name":"x","shape":[1,1],"datatype":"FP64","data":[null]},{"name":"y","shape":[1,1],"datatype":"INT64","data":[777]}]})");
  EXPECT_NE(nan.find("column 'x' has a missing"), std::string::npos) << nan;
  EXPECT_EQ(nan.find("777"), std::string::npos) << nan;
}

TEST(DataTypes, AreCaseSensitive) {
  for (auto name : {"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32",
                    "FP64", "BYTES"}) {
    auto t = parse_data_type(name);
    ASSERT_TRUE(t) << name;
    EXPECT_EQ(data_type_name(*t), name);
  }
  for (auto bad : {"", "fp64", "FP8", "FP64 ", "STRING"}) EXPECT_FALSE(parse_data_type(bad)) << bad;
}

}  // namespace
}  // namespace mr::serving
