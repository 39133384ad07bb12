# syntax=docker/dockerfile:1
# Stage 1 compiles and keeps the run-time packages; stage 2 has neither shell nor package manager.
FROM node:24-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json LICENSE ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
COPY test/support/tensorflow-serving ./test/support/tensorflow-serving
COPY schema ./schema
COPY config ./config
COPY rules ./rules
RUN npm run build && npm prune --omit=dev --no-audit --no-fund
# The default journal is ../data/rollbackd.db beside the folder of the daemon's file: here a link to the one place that is written.
RUN mkdir -p /image/var/lib/rollbackd /image/etc/rollbackd/config /image/etc/rollbackd/rules && ln -s /var/lib/rollbackd /image/etc/rollbackd/data

FROM gcr.io/distroless/nodejs24-debian13:nonroot
LABEL org.opencontainers.image.title="rollbackd" \
      org.opencontainers.image.description="Watches every served model version in Prometheus and rolls back the bad one, with proof." \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /app/package.json /app/LICENSE ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build --chown=65532:65532 /image/ /
USER 65532:65532
# Mount the daemon's file at /etc/rollbackd/config and the rules at /etc/rollbackd/rules. The rest of the file system may be read-only.
VOLUME /var/lib/rollbackd
EXPOSE 9797
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["/nodejs/bin/node", "/app/dist/src/main.js", "check", "healthy"]
ENTRYPOINT ["/nodejs/bin/node", "/app/dist/src/main.js"]
CMD ["run", "--config.file=/etc/rollbackd/config/rollbackd.yaml", "--web.listen-address=0.0.0.0:9797"]
