-- What is wished and known of the generations of each view.
CREATE TABLE generations (
    view_name  text NOT NULL,
    generation int  NOT NULL,
    notes      text NOT NULL, -- JSON
    PRIMARY KEY (view_name, generation)
);

-- The one that readers see; without a row, the one that migrations made.
CREATE TABLE live_generations (
    view_name  text PRIMARY KEY,
    generation int  NOT NULL
);
