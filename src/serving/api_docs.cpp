#include "serving/api_docs.h"

#include "json/writer.h"
#include "serving/server_info.h"
#include "text/uri.h"

namespace mr::serving {

namespace {

using json::Writer;

constexpr std::string_view kTensorSchemas =
    R"("Parameters":{"type":"object","description":"Further settings, as content_type and binary_data_size.","additionalProperties":{"type":["string","number","boolean"]}},)"
    R"("RequestInput":{"type":"object","required":["name","shape","datatype"],"properties":{"name":{"type":"string"},"shape":{"type":"array","items":{"type":"integer"}},"datatype":{"type":"string","enum":["BOOL","UINT8","UINT16","UINT32","UINT64","INT8","INT16","INT32","INT64","FP16","FP32","FP64","BYTES"]},"parameters":{"$ref":"#/components/schemas/Parameters"},"data":{"description":"Values in row-major order, flat or nested like the shape."}}},)"
    R"("RequestOutput":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"parameters":{"$ref":"#/components/schemas/Parameters"}}},)"
    R"("InferenceRequest":{"type":"object","required":["inputs"],"properties":{"id":{"type":"string"},"parameters":{"$ref":"#/components/schemas/Parameters"},"inputs":{"type":"array","items":{"$ref":"#/components/schemas/RequestInput"}},"outputs":{"type":"array","items":{"$ref":"#/components/schemas/RequestOutput"}}}},)"
    R"("InferenceResponse":{"type":"object","required":["model_name","id","outputs"],"properties":{"model_name":{"type":"string"},"model_version":{"type":"string"},"id":{"type":"string"},"parameters":{"$ref":"#/components/schemas/Parameters"},"outputs":{"type":"array","items":{"$ref":"#/components/schemas/RequestInput"}}}},)"
    R"("Error":{"type":"object","required":["error"],"properties":{"error":{"type":"string"}}})";

void answer_schema(Writer& w, std::string_view code, std::string_view description, std::string_view schema) {
  w.key(code);
  w.begin_object();
  w.field("description", description);
  if (!schema.empty()) {
    w.key("content");
    w.raw(fmt::format(R"({{"application/json":{{"schema":{{"$ref":"#/components/schemas/{}"}}}}}})", schema));
  }
  w.end_object();
}

// One operation of a path.
struct Operation {
  std::string_view path, method, summary;
  std::string_view request;  // schema, or empty
  std::string_view answer;   // schema, or empty
  bool of_model = false;
};
constexpr Operation kOperations[] = {
    {"/v2/health/live", "get", "Whether the server runs", "", "", false},
    {"/v2/health/ready", "get", "Whether all models answer", "", "", false},
    {"/v2", "get", "Name, version and extensions of the server", "", "", false},
    {"{m}", "get", "Inputs and outputs of the model", "", "", true},
    {"{m}/ready", "get", "Whether the model answers", "", "", true},
    {"{m}/infer", "post", "Inference", "InferenceRequest", "InferenceResponse", true},
    {"{m}/stats", "get", "Counts and times of the model's requests", "", "", true},
    {"/v2/repository/index", "post", "All models and their state", "", "", false},
    {"/v2/repository/models/{model_name}/load", "post", "Read the model's files again", "", "", false},
    {"/v2/repository/models/{model_name}/unload", "post", "Stop answering for the model", "", "", false},
};

}  // namespace

std::string example_request(const Model& m) {
  std::string out;
  Writer w(out, 2);
  w.begin_object();
  w.key("inputs");
  w.begin_array();
  for (const auto& t : input_tensors(m.loaded.signature)) {
    w.begin_object();
    w.field("name", t.name);
    w.key("shape");
    w.begin_array();
    std::int64_t values = 1;
    for (auto d : t.shape) {
      auto n = d < 0 ? 1 : std::min<std::int64_t>(d, 100);
      values = std::min<std::int64_t>(values * n, 1000);
      w.integer(n);
    }
    w.end_array();
    w.field("datatype", data_type_name(t.type));
    w.key("data");
    w.begin_array();
    for (std::int64_t i = 0; i < values; ++i) {
      if (t.type == DataType::bytes)
        w.string(t.content_type == "datetime" ? "2026-01-02T03:04:05" : "text");
      else if (t.type == DataType::boolean)
        w.boolean(true);
      else if (is_float(t.type))
        w.number(0.0);
      else
        w.integer(0);
    }
    w.end_array();
    w.end_object();
  }
  w.end_array();
  w.end_object();
  return out;
}

std::string openapi_document(const Model* m) {
  std::string out;
  Writer w(out);
  w.begin_object();
  w.field("openapi", "3.1.0");
  w.key("info");
  w.begin_object();
  w.field("title", m != nullptr ? fmt::format("Data Plane for {}", m->name) : std::string("Data Plane"));
  w.field("version", "2.0");
  w.field("description", "The Open Inference Protocol (V2).");
  w.end_object();
  const auto base =
      m != nullptr ? "/v2/models/" + text::percent_encode(m->name) : std::string("/v2/models/{model_name}");
  w.key("paths");
  w.begin_object();
  for (const auto& o : kOperations) {
    if (m != nullptr && !o.of_model) continue;
    std::string path(o.path);
    if (o.of_model) path = base + path.substr(3);
    w.key(path);
    w.begin_object();
    w.key(o.method);
    w.begin_object();
    w.field("summary", o.summary);
    if (path.find("{model_name}") != std::string::npos)
      w.key("parameters"), w.raw(R"([{"name":"model_name","in":"path","required":true,"schema":{"type":"string"}}])");
    if (!o.request.empty()) {
      w.key("requestBody");
      std::string example = m != nullptr ? fmt::format(R"(,"example":{})", example_request(*m)) : std::string();
      w.raw(fmt::format(
          R"({{"required":true,"content":{{"application/json":{{"schema":{{"$ref":"#/components/schemas/{}"}}{}}}}}}})",
          o.request, example));
    }
    w.key("responses");
    w.begin_object();
    answer_schema(w, "200", "OK", o.answer);
    if (o.of_model) answer_schema(w, "404", "There is no such model", "Error");
    if (!o.request.empty()) {
      answer_schema(w, "400", "The request does not fit the model", "Error");
      answer_schema(w, "429", "Too many requests are waiting; Retry-After says when to come again", "Error");
    }
    w.end_object();
    w.end_object();
    w.end_object();
  }
  w.end_object();
  w.key("components");
  w.raw(fmt::format(R"({{"schemas":{{{}}}}})", kTensorSchemas));
  w.end_object();
  return out;
}

std::string try_page(const Model* m) {
  std::string title;
  for (char c : m != nullptr ? m->name : std::string("models"))
    title += c == '<' ? "&lt;" : c == '&' ? "&amp;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : std::string(1, c);
  std::string out = fmt::format(
      "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{0}"
      "</title>",
      title);
  out += R"(<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.4rem}textarea,pre{width:100%;box-sizing:border-box;font:13px/1.45 ui-monospace,monospace;border:1px solid #c9d0da;border-radius:6px;padding:.6rem;background:#f7f9fb}
textarea{height:18rem}button{font:inherit;padding:.4rem 1rem;border-radius:6px;border:1px solid #2457c5;background:#2457c5;color:#fff}
table{border-collapse:collapse}td{padding:.15rem .8rem .15rem 0;vertical-align:top}code{font:13px ui-monospace,monospace}
@media(prefers-color-scheme:dark){body{color:#dfe5ee;background:#14181f}textarea,pre{background:#1c222b;border-color:#39424f;color:inherit}}
</style>)";
  out += fmt::format("<h1>{}</h1>", title);
  out += R"(<p><a href="docs/dataplane.json" id=doc>OpenAPI document</a></p><table id=paths></table>
<form id=form hidden><h2>Try it</h2><label for=body>Request</label><textarea id=body spellcheck=false></textarea>
<p><button>Send</button> <span id=status role=status></span></p><pre id=answer aria-label=Answer></pre></form>
<script>
const here=location.pathname.replace(/\/+$/,''),$=id=>document.getElementById(id);
$('doc').href=here+'/dataplane.json';
fetch(here+'/dataplane.json').then(r=>r.json()).then(d=>{
 for(const [path,ways] of Object.entries(d.paths))for(const [way,op] of Object.entries(ways)){
  const row=$('paths').insertRow(),c=document.createElement('code');
  c.textContent=way.toUpperCase()+' '+path;row.insertCell().append(c);row.insertCell().textContent=op.summary;
  const sample=op.requestBody?.content['application/json'].example;
  if(!sample)continue;
  $('form').hidden=false;$('body').value=JSON.stringify(sample,null,2);
  $('form').onsubmit=async e=>{e.preventDefault();const began=performance.now();$('answer').textContent='';
   try{const r=await fetch(path,{method:'POST',headers:{'Content-Type':'application/json'},body:$('body').value});
    const text=await r.text();$('status').textContent=r.status+' in '+(performance.now()-began).toFixed(1)+' ms';
    try{$('answer').textContent=JSON.stringify(JSON.parse(text),null,2)}catch{$('answer').textContent=text}
   }catch(x){$('status').textContent=String(x)}};
 }});
</script></html>
)";
  return out;
}

}  // namespace mr::serving
