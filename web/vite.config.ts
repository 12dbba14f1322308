import { defineConfig } from "vitest/config";

// The gateway that `npm run dev` asks for data; pages themselves come from here and reload as they are edited.
const gateway = process.env.MILLRACE_GATEWAY ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "/dashboard/",
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: { target: "es2020", assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: false },
  server: { proxy: Object.fromEntries(["/dashboard/api", "/dashboard/kube", "/dashboard/mlflow", "/dashboard/s3", "/apis", "/serving"].map((p) => [p, gateway])) },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
