// The boosting libraries' scikit-learn classes in pickles and skops files: an object around a booster whose state holds
// the model as its library writes it to a file.
#include "serving/engines/boosters.h"
#include "serving/formats/booster_file.h"
#include "serving/formats/lightgbm.h"
#include "serving/formats/ubjson.h"
#include "serving/formats/xgboost.h"

namespace mr::serving {

namespace {

// Bytes, a bytearray, or a text.
std::string_view content_of(const Tree& t, NodeId id) {
  if (id == kNoNode) return {};
  const auto& n = t.at(id);
  if (n.kind == NodeKind::bytes) return t.bytes_of(n);
  if (n.kind == NodeKind::text) return n.text;
  if (n.kind == NodeKind::object && t.class_of(id).ends_with(".bytearray") && !n.items.empty() &&
      t.at(n.items[0]).kind == NodeKind::bytes)
    return t.bytes_of(t.at(n.items[0]));
  return {};
}

std::string_view handle_of(const Tree& t, NodeId booster) {
  for (const char* key : {"handle", "_handle"})
    if (auto c = content_of(t, t.get(booster, key)); !c.empty()) return c;
  return {};
}

// classes_ of the label encoder that a wrapper keeps.
void label_classes(const Build& b, NodeId id, BoostedModel& m) {
  auto encoder = b.tree.get(id, "_le");
  if (b.tree.is_none(encoder)) return;
  auto a = b.tree.array_of(b.tree.get(encoder, "classes_"));
  if (!a || a->size() != std::max<std::size_t>(2, m.groups)) return;
  if (m.labels == LabelRule::none || m.labels == LabelRule::each || m.labels == LabelRule::as_integer) return;
  m.classes = std::move(*a);
}

Result<EstimatorPtr> make_xgboost(Build& b, NodeId id) {
  auto kind = b.short_class(id);
  auto booster = kind == "Booster" ? id : b.tree.get(id, "_Booster");
  auto bytes = handle_of(b.tree, booster);
  if (bytes.empty()) return b.bad(id, "it holds no booster: is it fitted?");
  if (!bytes.starts_with('{'))
    return fail(Code::unimplemented,
                kind +
                    ": the booster is kept in XGBoost's old binary format, which is not read; save the model anew "
                    "with XGBoost 1.6 or later");
  MR_TRY(auto doc, read_document(bytes));
  MR_TRY(auto m, read_xgboost(doc, kind));
  m.missing = b.number_or(id, "missing", m.missing);
  label_classes(b, id, m);
  b.memory += m.bytes();
  return make_boosted_estimator(std::move(m));
}

Result<EstimatorPtr> make_lightgbm(Build& b, NodeId id) {
  auto kind = b.short_class(id);
  auto booster = kind == "Booster" ? id : b.tree.get(id, "_Booster");
  auto text = handle_of(b.tree, booster);
  if (text.empty()) return b.bad(id, "it holds no booster: is it fitted?");
  auto best = b.number_or(booster, "best_iteration", 0);
  MR_TRY(auto m, read_lightgbm(text, kind, best > 0 && best < 1e9 ? static_cast<std::int64_t>(best) : 0));
  label_classes(b, id, m);
  // Since 4.7, which is known by this attribute, its classifier has a decision_function.
  m.decides = m.labels != LabelRule::none && b.tree.get(id, "_fitted_with_feature_names") != kNoNode;
  b.memory += m.bytes();
  return make_boosted_estimator(std::move(m));
}

Result<EstimatorPtr> make_catboost_class(Build& b, NodeId id) {
  auto bytes = content_of(b.tree, b.tree.get(id, "__model"));
  if (bytes.empty()) return b.bad(id, "it holds no model: is it fitted?");
  MR_TRY(auto m, read_booster(bytes, b.short_class(id)));
  b.memory += m.bytes();
  return make_boosted_estimator(std::move(m));
}

}  // namespace

void add_boosters(Makers& makers) {
  for (const char* c : {"xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRegressor", "xgboost.sklearn.XGBRanker",
                        "xgboost.sklearn.XGBRFClassifier", "xgboost.sklearn.XGBRFRegressor", "xgboost.core.Booster"})
    makers.emplace(c, make_xgboost);
  for (const char* c : {"lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor",
                        "lightgbm.sklearn.LGBMRanker", "lightgbm.basic.Booster"})
    makers.emplace(c, make_lightgbm);
  for (const char* c : {"catboost.core.CatBoost", "catboost.core.CatBoostClassifier", "catboost.core.CatBoostRegressor",
                        "catboost.core.CatBoostRanker"})
    makers.emplace(c, make_catboost_class);
}

}  // namespace mr::serving
